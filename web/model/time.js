// Points in time, spans and sizes, as people say them.

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

/**
 * How long ago something was: `3 hours ago`.
 * @param {string | null | undefined} time ISO 8601
 */
export function ago(time, now = Date.now()) {
  const seconds = (Date.parse(time ?? "") - now) / 1000;
  if (Number.isNaN(seconds)) return "";
  const [unit, size] = UNITS.find(([, least]) => Math.abs(seconds) >= least) ?? ["second", Infinity];
  return relative.format(Math.round(seconds / size), unit);
}

/** The day and the time. @param {string | null | undefined} time ISO 8601 */
export function moment(time) {
  const date = new Date(time ?? "");
  return Number.isNaN(date.getTime()) ? "" : exact.format(date);
}

/** A span: `4.2 s`, `3 min 20 s`, `2 h 5 min`. @param {number | null | undefined} seconds */
export function span(seconds) {
  if (seconds == null || !(seconds >= 0 && seconds < Infinity)) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  const parts = minutes < 60 ? [minutes, "min", whole % 60, "s"] : [Math.floor(minutes / 60), "h", minutes % 60, "min"];
  return parts.slice(0, parts[2] ? 4 : 2).join(" ");
}

/** A number of bytes of memory, which is counted in powers of two, as it is on a card's box: `24 GB`. @param {number} bytes */
export const memory = (bytes) => size(bytes, 1024);

/** A number of bytes: `640 KB`. @param {number | null | undefined} bytes @param {number} [thousand] */
export function size(bytes, thousand = 1000) {
  if (bytes == null || bytes < 0) return "";
  const power = Math.min(4, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(thousand) + 1e-9));
  const value = bytes / thousand ** power;
  return `${power && value < 10 ? value.toFixed(1) : Math.round(value)} ${["B", "KB", "MB", "GB", "TB"][power]}`;
}
