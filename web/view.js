// The view library, at the one place that names its version.

import htm from "./vendor/htm-3.1.1.js";
import { h, useRef } from "./vendor/htm-preact-3.1.1.js";

export {
  Component,
  createContext,
  h,
  render,
  useCallback,
  useContext,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
} from "./vendor/htm-preact-3.1.1.js";

/**
 * HTML with values in it, such as html`<b title=${name}>${text}</b>` or html`<${View} name=${name} />`. There has to be
 * one element around all others.
 */
export const html = htm.bind(makeAnew);

/** An element of a view, once it is on the page. @returns {{current: HTMLElement}} */
export const useElement = () => useRef(/** @type {any} */ (null));

/**
 * Left to itself, htm keeps what has no values in it, and each such element holds the panel that it was first in. Three is
 * what it notes there of what has some: https://github.com/developit/htm#caching
 *
 * @this {unknown[]} how htm remembers this part of the template
 * @param {Parameters<typeof h>} element
 */
function makeAnew(...element) {
  this[0] = 3;
  return h(...element);
}
