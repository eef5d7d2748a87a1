// What is in an answer: events, JSON, pictures. Pure: knows no page and no network.

/** @typedef {{event: string, id: string, data: string}} StreamEvent */

/**
 * A reader of an event stream: takes its text as it comes and gives the events that are complete.
 * @returns {(chunk: string) => StreamEvent[]}
 */
export function eventReader() {
  let rest = "";
  return (chunk) => {
    rest += chunk;
    const held = rest.endsWith("\r") ? "\r" : ""; // the other half of a line's end may still come
    const blocks = rest
      .slice(0, rest.length - held.length)
      .replace(/\r\n?/g, "\n")
      .split("\n\n");
    rest = (blocks.pop() ?? "") + held;
    return blocks.flatMap(readEvent);
  };
}

/** @param {string} block @returns {StreamEvent[]} */
function readEvent(block) {
  const lines = block.split("\n").map((line) => {
    const [name, ...value] = line.split(":");
    return { name, value: value.join(":").replace(/^ /, "") };
  });
  const last = (/** @type {string} */ name) => lines.filter((each) => each.name === name).at(-1)?.value ?? "";
  const data = lines.filter((each) => each.name === "data").map((each) => each.value);
  return data.length ? [{ event: last("event") || "message", id: last("id"), data: data.join("\n") }] : [];
}

/**
 * The pieces of a JSON text, set out in lines. Numbers stay as they were written: a seed has more digits than a
 * number of JavaScript. Raises SyntaxError when it is no JSON.
 * @param {string} text
 * @returns {{kind: "key" | "string" | "number" | "word" | "mark", text: string}[]}
 */
export function jsonPieces(text) {
  JSON.parse(text);
  const tokens = text.match(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/g) ?? [];
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return tokens.map((token, index) => {
    const [before, after] = [tokens[index - 1] ?? "", tokens[index + 1] ?? ""];
    const isOpening = token === "{" || token === "[";
    const isClosing = token === "}" || token === "]";
    if (isClosing) depth -= 1;
    const isEmpty = isClosing && (before === "{" || before === "[");
    if (isOpening && after !== "}" && after !== "]") {
      depth += 1;
      return { kind: "mark", text: token + line() };
    }
    if (isOpening) depth += 1;
    if (isClosing) return { kind: "mark", text: isEmpty ? token : line() + token };
    if (token === ",") return { kind: "mark", text: token + line() };
    if (token === ":") return { kind: "mark", text: ": " };
    if (token.startsWith('"'))
      return { kind: after === ":" ? "key" : "string", text: JSON.stringify(JSON.parse(token)) };
    return { kind: /^[tfn]/.test(token) ? "word" : "number", text: token };
  });
}

/**
 * The pictures that a JSON answer names: data URLs, and URLs of the page's own origin, the only ones it may show.
 * @param {string} text
 * @param {string} origin
 * @returns {string[]} each once
 */
export function picturesIn(text, origin) {
  const texts = jsonPieces(text).filter((each) => each.kind === "string");
  const found = texts
    .map((each) => String(JSON.parse(each.text)))
    .filter((each) => {
      if (/^data:image\/(png|jpeg|webp|gif);base64,/.test(each)) return true;
      const url = URL.canParse(each) ? new URL(each) : null;
      return url?.origin === origin && /\.(png|jpe?g|webp|gif)$/i.test(url.pathname);
    });
  return [...new Set(found)];
}
