// Lines of text at the bottom of a node: how its last run ended, and what a person should know about it.

const NAME = "outpost_note";
const LINE = 17;
const EDGES = 30; // with the margins that the page leaves around an element

/**
 * Show lines on a node in place of those before; none takes the note away.
 * @param {ComfyUI.Node} node
 * @param {Line[]} lines
 */
export function showLines(node, lines) {
  const known = node.widgets?.find((widget) => widget.name === NAME);
  const before = known ? heightOf(known) : 0;
  if (!lines.length) {
    if (known) removeWidget(node, known);
  } else {
    const note = known ?? addNote(node);
    note.outpostLines = lines.length;
    note.element?.replaceChildren(...lines.map(line));
  }
  if (known || lines.length) fitHeight(node, before);
}

/**
 * Let a node be as high as what is in it, and lower again by what its note was too high.
 * @param {ComfyUI.Node} node
 * @param {number} before the height of the note before
 */
function fitHeight(node, before) {
  const [width, height] = node.computeSize();
  const now = node.widgets.filter(({ name }) => name === NAME).map(heightOf)[0] ?? 0;
  const saved = Math.max(0, before - now);
  node.setSize([Math.max(width, node.size[0]), Math.max(height, node.size[1] - saved)]);
  node.graph?.setDirtyCanvas?.(true, true);
}

/** @param {ComfyUI.Widget} widget */
function heightOf(widget) {
  return (widget.outpostLines ?? 0) * LINE + EDGES;
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
  const height = () => heightOf(widget);
  const options = { serialize: false, hideOnZoom: false, getMinHeight: () => height(), getMaxHeight: () => height() };
  const widget = node.addDOMWidget(NAME, "outpost_note", element, {
    ...options,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  widget.outpostLines = 1;
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
