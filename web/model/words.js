// Words that are put together.

/**
 * What is said of something, on one line. What is empty is left out.
 * @param {unknown[]} parts
 */
export const joined = (...parts) => parts.filter(Boolean).join(" · ");
