// Lines of text at the bottom of a node: how its last run ended, and what a person should know about it.

const NAME = "outpost_note";
const MARGINS = 20; // that the page leaves around an element

/**
 * Show lines on a node in place of those before; none takes the note away.
 * @param {ComfyUI.Node} node
 * @param {Line[]} lines
 */
export function showLines(node, lines) {
  const known = node.widgets?.find((widget) => widget.name === NAME);
  if (lines.length) {
    const note = known ?? addNote(node);
    note.element?.replaceChildren(...lines.map(line));
    note.outpostHeight = null;
  } else if (known) removeWidget(node, known);
  if (known || lines.length) fitHeight(node);
}

/** Let a node be as high as what is in it, and lower again by what its note has made it higher. @param {ComfyUI.Node} node */
function fitHeight(node) {
  const [width, least] = node.computeSize();
  const own = node.size[1] - (node.outpostGrown ?? 0);
  const height = Math.max(least, own);
  node.outpostGrown = height - own;
  node.setSize([Math.max(width, node.size[0]), height]);
  node.graph?.setDirtyCanvas?.(true, true);
}

/**
 * What is saved of a node is as high as it is without a note: that is not saved.
 * @param {ComfyUI.Node} node
 * @param {ComfyUI.SavedNode} saved
 */
export function withoutNote({ size, outpostGrown: grown }, saved) {
  if (grown) saved.size = [size[0], size[1] - grown];
}

/** How high a note is with its lines, at the width that its node has. @param {ComfyUI.Node} node @param {ComfyUI.Widget} note */
function heightOf(node, note) {
  const width = node.size[0] - MARGINS;
  if (note.element && note.outpostHeight?.width !== width) {
    // The page puts the element somewhere later, and makes it as high as is said here.
    const probe = /** @type {HTMLElement} */ (note.element.cloneNode(true));
    probe.style.cssText = `position: fixed; visibility: hidden; width: ${width}px`;
    document.body.append(probe);
    note.outpostHeight = { width, height: probe.offsetHeight + MARGINS };
    probe.remove();
  }
  return note.outpostHeight?.height ?? 0;
}

/** @param {Line} line */
function line({ text, kind = "status", hint }) {
  const row = document.createElement("div");
  row.className = `outpost-line outpost-${kind}`;
  row.dir = "auto";
  row.textContent = text;
  row.title = hint ?? text;
  return row;
}

/** @param {ComfyUI.Node} node */
function addNote(node) {
  const element = document.createElement("div");
  element.className = "outpost-note";
  element.setAttribute("role", "status");
  const height = () => heightOf(node, widget);
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => height(), getMaxHeight: () => height() };
  const widget = node.addDOMWidget(NAME, "outpost_note", element, {
    ...options,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  widget.computeSize ??= (width) => [width, height()]; // pages of before 2025 ask for it
  return widget;
}

/** @param {ComfyUI.Node} node @param {ComfyUI.Widget} widget */
export function removeWidget(node, widget) {
  for (const each of [...(widget.linkedWidgets ?? []), widget]) {
    if (!node.widgets.includes(each)) continue;
    if (node.removeWidget) node.removeWidget(each);
    else {
      each.onRemove?.();
      node.widgets.splice(node.widgets.indexOf(each), 1);
    }
  }
}
