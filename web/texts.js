// Texts for people. They are data, ready to be translated: this package's `texts.json`, read once.

const LONGEST_MS = 5000; // ComfyUI's page waits for this package as long
const plural = new Intl.PluralRules("en");

/** @type {Map<string, string | Record<string, string>>} by key; forms for one and many where `count` chooses */
const texts = new Map();

/** @param {Record<string, string | Record<string, string>>} more */
export function learn(more) {
  for (const [key, text] of Object.entries(more)) texts.set(key, text);
}

/** Read the texts, before the first of them is shown. Where that fails their keys stand for them: the page goes on. */
export async function readTexts() {
  try {
    const address = new URL("./texts.json", import.meta.url);
    // Not from a cache without asking: these are the texts of this version.
    const answer = await fetch(address, { cache: "no-cache", signal: AbortSignal.timeout(LONGEST_MS) });
    learn(await answer.json());
  } catch (error) {
    console.error("ComfyUI-Outpost: its texts cannot be read:", error);
  }
}

/** A text, with what is in braces filled in. @param {string} key @param {Record<string, string | number>} [values] */
export function t(key, values = {}) {
  const found = texts.get(key) ?? key;
  const text = typeof found === "string" ? found : (found[plural.select(Number(values.count))] ?? found.other);
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
