// Runs as they go on: their time, their progress, their previews.

import { html, Progress, t, useEffect, useEvent, usePanel, useState } from "../../kit/kit.js";
import { runPath, titleOf } from "../../model/runs.js";

/** The time, which goes on once a second while it is needed. @param {boolean} isNeeded */
export function useClock(isNeeded) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!isNeeded) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [isNeeded]);
  return Math.max(now, Date.now());
}

/** @returns {(run: Pick<RunRow, "id" | "preview">) => string} where the newest preview of a run is */
export function usePreviews() {
  const { feed, comfy } = usePanel();
  const [numbers, setNumbers] = useState(/** @type {Record<string, number>} */ ({}));
  useEvent(feed, "preview", ({ run_id: id, number }) => setNumbers((before) => ({ ...before, [id]: number })));
  return ({ id, preview }) => {
    const number = numbers[id] ?? preview;
    return number ? comfy.addressOf(`/outpost${runPath(id)}/preview?n=${number}`) : "";
  };
}

/** @param {{run: RunRow}} props */
export const RunProgress = ({ run }) =>
  html`<${Progress} label=${t("runs.progress", { name: titleOf(run) })} share=${run.progress} />`;
