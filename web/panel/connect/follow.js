// What a route does for a while, told line by line.

import { t, useEffect, usePanel } from "../../kit/kit.js";
import { linesOf } from "../../model/sse.js";

/**
 * Let a route do something, again when one of `deps` changes. It is broken off when the view goes.
 * @param {string} path
 * @param {{body?: unknown, take: (line: any) => void, isEnd: (line: any) => boolean, fail: (text: string) => void,
 *   brokenOff: string}} what `brokenOff` is said where it ends before it is at its end
 * @param {unknown[]} deps
 */
export function useSteps(path, { body, take, isEnd, fail, brokenOff }, deps) {
  const { routes } = usePanel();
  useEffect(() => {
    const leaving = new AbortController();
    const follow = async () => {
      const answer = await routes.open(path, {
        method: "POST",
        signal: leaving.signal,
        body: JSON.stringify(body),
        headers: { "Content-Type": "application/json" },
      });
      let isDone = false;
      for await (const line of linesOf(answer)) {
        take(line);
        isDone = isEnd(line);
      }
      if (!isDone) throw new Error(t(brokenOff));
    };
    follow().catch((error) => leaving.signal.aborted || fail(error.message));
    return () => leaving.abort();
  }, deps);
}
