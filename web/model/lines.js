// What a node says about its last run.

import { span } from "./time.js";

const GOING = new Set(["not-started", "queued", "started", "running", "uploading"]);

/** Whether a run has ended without what was wanted of it. @param {RunReport} report */
export const isFailed = ({ status = "" }) => status !== "success" && !GOING.has(status);

/** The first line of a text that has something in it. @param {unknown} text */
export const firstLine = (text) => (/\S.*/.exec(String(text ?? ""))?.[0] ?? "").trim();

/**
 * How one or several runs are, in a line: “success · 3.2 s”, “queued”, “failed · 1.0 s · Out of memory”,
 * “3 runs: 2 success, 1 failed · 10.0 s”. A run that goes on has no time yet.
 * @param {RunReport[]} reports
 */
export function ended(reports) {
  if (!reports.length) return "";
  const times = reports.flatMap(({ status = "", seconds }) =>
    typeof seconds === "number" && seconds >= 0 && !GOING.has(status) ? [seconds] : [],
  );
  const time = times.length ? ` · ${span(Math.max(...times))}` : "";
  if (reports.length === 1) {
    const message = firstLine(reports[0].message);
    return `${reports[0].status ?? ""}${time}${message && ` · ${message}`}`;
  }
  const counts = new Map();
  for (const { status = "" } of reports) counts.set(status, (counts.get(status) ?? 0) + 1);
  const said = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  return `${reports.length} runs: ${said}${time}`;
}
