// What every view of the panel is given.

import { createContext, useContext } from "../view.js";
import { useCalm, useEvent } from "./use.js";

/** The name of the panel's tab in the sidebar. */
export const TAB = "outpost";

const Context = createContext(/** @type {any} */ (null)); // there is none above a dialog

export const { Provider } = Context;

/** @returns {Panel} */
export const usePanel = () => useContext(Context);

/**
 * Read something again, a little after something of one of these kinds has changed.
 * @param {LiveEvents["changed"]["kind"][]} kinds
 * @param {() => void} again
 * @param {string} [id] of the only one that matters; a change that does not tell which it was may be of it
 */
export function useChanges(kinds, again, id) {
  const calm = useCalm(again);
  useEvent(usePanel().feed, "changed", ({ kind, id: which }) => {
    if (kinds.includes(kind) && (!id || !which || which === id)) calm();
  });
}
