// The functions of nodes that the page calls.

/** @typedef {(this: ComfyUI.Node, ...args: any[]) => unknown} AnyHook */

const nothing = () => {};

/**
 * Do something before and after the page's own functions of all nodes of a class.
 * @param {ComfyUI.Node} prototype of the class
 * @param {Guard} guard
 * @param {Hooks} hooks
 */
export function around(prototype, guard, hooks) {
  const all = /** @type {[keyof ComfyUI.NodeHooks, {before?: AnyHook, after?: AnyHook}][]} */ (Object.entries(hooks));
  for (const [name, { before = nothing, after = nothing }] of all) {
    // Pages of before 2024-08 give a class the functions of all nodes only when it is registered, which is later.
    const original = /** @type {AnyHook | undefined} */ (
      prototype[name] ?? globalThis.LiteGraph?.LGraphNode?.prototype[name]
    );
    const [first, last] = [guard(before), guard(after)];
    /** @type {AnyHook} */
    const hooked = function (...args) {
      first.apply(this, args);
      const result = original?.apply(this, args);
      last.apply(this, args);
      return result;
    };
    Object.assign(prototype, { [name]: hooked });
  }
}
