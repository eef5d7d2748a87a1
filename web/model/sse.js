// Answers that come bit by bit: server-sent events, and lines of JSON.

/**
 * The parts of a stream that are whole, as they come.
 * @param {Pick<Response, "body">} answer
 * @param {string} end of each part
 */
async function* partsOf({ body }, end) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (body).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const parts = (rest + decoder.decode(piece.value, { stream: true })).split(end);
      rest = parts.pop() ?? "";
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Lines, each a JSON value. @param {Pick<Response, "body">} answer */
export async function* linesOf(answer) {
  for await (const line of partsOf(answer, "\n")) if (line) yield JSON.parse(line);
}

/** Server-sent events, as this package's own routes write them. @param {Pick<Response, "body">} answer */
export async function* eventsOf(answer) {
  for await (const block of partsOf(answer, "\n\n")) {
    const { id = "", event, data } = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/, 2)));
    if (event && data) yield { id, name: event, data: JSON.parse(data) }; // else it is a sign of life
  }
}
