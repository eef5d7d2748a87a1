// Keys that make a repetition of something no second one.

/** A new one. `crypto.randomUUID` is not there on pages that are opened without https. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
