// Makes menus of old pages show names as what they are. Those take every entry for HTML, and names come from others.

const HARMLESS = new Set(["B", "BR", "EM", "HR", "I", "SMALL", "SPAN", "STRONG"]);
const LOOKS = new Set(["class", "style"]);

/** Let the page's menus show texts as texts. Those that do so by themselves stay as they are. */
export function makeMenusSafe() {
  const menu = globalThis.LiteGraph?.ContextMenu;
  const { addItem } = menu?.prototype ?? {};
  if (!menu || !addItem || showsTexts(addItem)) return;
  menu.prototype.addItem = function (name, value, options) {
    const text = typeof name !== "string" || (typeof value === "object" && isHarmless(name)) ? name : escaped(name);
    return addItem.call(this, text, value, options);
  };
}

/**
 * Whether menus show an entry as a text. It is tried with one that is not on the page.
 * @param {ComfyUI.AddMenuItem} addItem
 */
function showsTexts(addItem) {
  const root = document.createElement("div");
  const sample = "<i></i>";
  try {
    addItem.call({ root }, sample, sample, {});
  } catch {
    return false; // to make a text safe that is safe already does less harm than a script
  }
  return root.textContent === sample;
}

/**
 * Whether HTML can do no more than look like something. The page's own menus have entries with colours.
 * @param {string} html
 */
function isHarmless(html) {
  const template = document.createElement("template"); // nothing in it is loaded or run
  template.innerHTML = html;
  return [...template.content.querySelectorAll("*")].every(
    (element) => HARMLESS.has(element.tagName) && [...element.attributes].every(({ name }) => LOOKS.has(name)),
  );
}

/** @param {string} text */
function escaped(text) {
  const element = document.createElement("i");
  element.textContent = text;
  return element.innerHTML;
}
