// Moving among the buttons of a list or a grid by the arrow keys.

/**
 * @param {HTMLElement} list
 * @param {HTMLElement} field from where the arrow down leads into the list
 * @returns {() => void} ends it
 */
export function moveByArrows(list, field) {
  const buttons = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll(".outpost-tile, .outpost-row")]);
  const into = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    buttons()[0]?.focus();
  };
  field.addEventListener("keydown", into);
  list.addEventListener("keydown", (event) => {
    const all = buttons();
    const here = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const columns = all.filter((each) => each.offsetTop === all[0].offsetTop).length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -here, End: all.length };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (here < 0 || step === undefined) return;
    event.preventDefault();
    if (here + step < 0) field.focus();
    else all[Math.min(here + step, all.length - 1)].focus();
  });
  return () => field.removeEventListener("keydown", into);
}
