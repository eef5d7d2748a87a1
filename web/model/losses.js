// What a graph has lost that the page made of its executable form.

import { t } from "../texts.js";
import { compared } from "./compare.js";

const MOST_NAMED = 4;

/**
 * What is said of what was lost; null where nothing was. What the page has added, such as a default, is no loss.
 * @param {Graph} kept
 * @param {Graph} opened the executable form of what the page has made of it
 * @param {(id: string, input: string) => unknown} widgetValue the value of a widget, which the page may execute as another
 * @returns {string | null}
 */
export function lossesOf(kept, opened, widgetValue) {
  const { removed, changed } = compared(kept, opened);
  const lost = changed.flatMap(({ id, title, changes = [] }) =>
    changes
      .filter(({ name, before }) => before !== undefined && before !== widgetValue(id, name))
      .map(({ name: input }) => t("losses.input", { input, title })),
  );
  const all = [...removed.map(({ title }) => title), ...lost];
  if (!all.length) return null;
  const [names, count] = [all.slice(0, MOST_NAMED).join(", "), all.length - MOST_NAMED];
  return count > 0 ? t("losses.many", { names, count }) : t("losses.few", { names });
}
