/** What htm-3.1.1.js gives: HTML with values in it, whose elements are made by what this is bound to. */

import type { h, VNode } from "./htm-preact-3.1.1.js";

export default function htm(
  this: (...element: Parameters<typeof h>) => VNode,
  strings: TemplateStringsArray,
  ...values: unknown[]
): VNode;
