// What can be done with something, wherever it is shown: the entries of its menu, and how they tell of what goes wrong.

import { newKey } from "../model/keys.js";

/** @param {Panel} panel is told what goes wrong @param {() => unknown} act */
export const daring = (panel, act) => async () => {
  try {
    await act();
  } catch (error) {
    panel.fail(error);
  }
};

const DELETING = "pi-trash";

/**
 * What menus and buttons are made of, of a row for each deed. What is not there now is left out.
 * @param {Panel} panel
 * @param {[label: string, icon: string, act: () => unknown, isThere?: unknown][]} rows
 * @returns {Item[]}
 */
export const itemsOf = (panel, rows) =>
  rows
    .filter(([, , , isThere = true]) => isThere)
    .map(([label, icon, act]) => ({
      label,
      icon,
      isDangerous: icon === DELETING,
      do: daring(panel, act),
    }));

/**
 * Delete something in a while, in which it can be undone. Whoever shows it asks the deletions whether to.
 * @param {Panel} panel
 * @param {string} key what it is
 * @param {string} name what people call it
 * @param {string} path of the route
 * @param {unknown} [body]
 */
export const deleteLater = ({ deletions, routes }, key, name, path, body) =>
  deletions.add(key, name, () => routes.send("DELETE", path, body));

/**
 * Ask for something that must not be done twice. Until an answer came it is the same question with the same key,
 * however often it is asked: what was lost may have been the answer only.
 * @template Answer
 * @param {Panel} panel
 * @param {string} question
 * @param {(key: string) => Promise<Answer>} ask
 */
export async function askOnce({ kept }, question, ask) {
  const key = /** @type {string} */ (kept.get(question) ?? newKey());
  kept.set(question, key);
  const answer = await ask(key);
  kept.delete(question);
  return answer;
}
