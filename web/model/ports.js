// The sockets and widgets that stand for the inputs of a deployment on a node.

import { t } from "../texts.js";
import { shown } from "./names.js";

/**
 * The ports of a field. An image whose transparency comes apart has a second one for that.
 * @param {Field} field
 * @param {string} name of the input on the node
 * @returns {Port[]}
 */
export function ports(field, name) {
  const { input_id: inputId, mark, widget = null } = field;
  const called = shown(field.label || inputId);
  const isMarked = mark !== undefined;
  const main = {
    name,
    inputId,
    label: marked(called, mark),
    tooltip: tooltip(field),
    type: field.socket || "*",
    widget,
    isRequired: field.is_required === true,
    isMarked,
  };
  if (!field.has_alpha) return [main];
  const label = marked(t("node.alpha", { name: called }), mark);
  const alpha = { name: `${name}:alpha`, inputId, label, tooltip: t("node.alpha_hint"), type: "MASK" };
  return [main, { ...alpha, widget: null, isRequired: false, isMarked }];
}

/** What an output is called: one without a name of its own by its node. @param {Output} output */
export function outputLabel({ name, is_named: isNamed = true, class_type: type }) {
  if (isNamed) return shown(name);
  return type ? `${shown(type)} ${shown(name)}` : t("output.of_node", { id: shown(name) });
}

/** A label with its mark, if it has one. @param {string} label @param {Mark} [mark] */
export const marked = (label, mark) => (mark ? t(`node.mark_${mark}`, { label }) : label);

/** @param {Field} field */
function tooltip({ input_id: id, kind, tooltip: text, mark, was = "" }) {
  const news = mark && t(`node.input_${mark}`, { was });
  return [news, shown(text, 400), `${shown(id)}: ${kind}`].filter(Boolean).join("\n");
}
