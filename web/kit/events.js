// Listeners of elements, made of what is to be done.

/** @param {(value: string) => unknown} take what is typed or chosen @returns {(event: Event) => void} */
export const withValue = (take) => (event) => void take(/** @type {HTMLInputElement} */ (event.target).value);

/** @param {(isOn: boolean) => unknown} take @returns {(event: Event) => void} */
export const withChecked = (take) => (event) => void take(/** @type {HTMLInputElement} */ (event.target).checked);

/** @param {(event: Event) => unknown} act what is done in place of what the browser does @returns {(event: Event) => void} */
export const instead = (act) => (event) => {
  event.preventDefault();
  act(event);
};
