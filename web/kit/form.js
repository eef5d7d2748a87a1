// Forms, and what they ask for.

import { html, useRef, useState } from "../view.js";
import { Answers } from "./dialog.js";
import { instead, withChecked, withValue } from "./events.js";

/**
 * A form in a dialog that stays until what it asks for is done, or it is left.
 * @template Made
 * @param {FormProps<Made>} props
 */
export function Form({ save, close, yes, busy = yes, isOff = false, refused, children }) {
  const form = useRef(/** @type {HTMLFormElement | undefined} */ (undefined));
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {RouteError | null} */ (null));
  const isSending = useRef(false);
  const send = async (isAnyway = false) => {
    if (isSending.current) return; // a second click, before the button is off
    isSending.current = true;
    setBusy(true);
    try {
      close(await save(new FormData(form.current), isAnyway));
    } catch (problem) {
      setError(/** @type {RouteError} */ (problem));
      setBusy(false);
    }
    isSending.current = false;
  };
  return html`
    <form class="outpost-section" ref=${form} onSubmit=${instead(() => send())}>
      ${children}
      ${!isBusy && error && html`<${Problem} text=${error.message} />`}
      ${error && refused?.(error, () => send(true))}
      <${Answers} close=${close} yes=${isBusy ? busy : yes} isOff=${isBusy || isOff} />
    </form>
  `;
}

/** @param {{text: string}} props what did not work, where it was asked for */
export const Problem = ({ text }) => html`<p class="outpost-bad outpost-whole" role="alert" dir="auto">${text}</p>`;

/** @param {{label: string, hint?: unknown, children?: unknown}} props what is asked for, with its name */
export const Labelled = ({ label, hint, children }) => html`
  <label class="outpost-field"><span>${label}</span>${children}${hint && html`<small>${hint}</small>`}</label>
`;

/**
 * A line of text, a number, an address or a secret. Other properties are attributes of the `<input>`.
 * @param {{label: string, hint?: unknown, value?: string | number | null, onInput?: (value: string) => void,
 *   [attribute: string]: unknown}} props `value` is what is there at first
 */
export const TextField = ({ label, hint, value, onInput, ...attributes }) => html`
  <${Labelled} label=${label} hint=${hint}>
    <input type="text" dir="auto" autocomplete="off" spellcheck=${false} defaultValue=${value ?? ""}
      onInput=${onInput && withValue(onInput)} ...${attributes} />
  <//>
`;

/**
 * One of several. Other properties are attributes of the `<select>`.
 * @param {{label: string, hint?: unknown, options: [value: string, text: unknown][], onInput?: (value: string) => void,
 *   [attribute: string]: unknown}} props
 */
export const ChoiceField = ({ label, hint, options, onInput, ...attributes }) => html`
  <${Labelled} label=${label} hint=${hint}>
    <select onChange=${onInput && withValue(onInput)} ...${attributes}>
      ${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}
    </select>
  <//>
`;

/**
 * Yes or no. Other properties are attributes of the `<input>`, such as `type="radio"`.
 * @param {{label: unknown, onInput?: (isOn: boolean) => void, [attribute: string]: unknown}} props
 */
export const TickField = ({ label, onInput, ...attributes }) => html`
  <label class="outpost-check">
    <input type="checkbox" onChange=${onInput && withChecked(onInput)} ...${attributes} />${label}
  </label>
`;

/**
 * The field that a list is searched by.
 * @param {{label: string, value: string, onInput: (value: string) => void}} props
 */
export const SearchField = ({ label, value, onInput }) => html`
  <input type="search" value=${value} placeholder=${label} aria-label=${label} dir="auto" maxlength="200"
    onInput=${withValue(onInput)} />
`;
