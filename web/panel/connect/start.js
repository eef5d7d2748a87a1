// Starting the platform on this computer, as it goes on.

import { Buttons, html, icon, t, usePanel, useState } from "../../kit/kit.js";
import { useSteps } from "./follow.js";

/** @typedef {{state: string, seconds?: number, text?: string, log?: string[], is_shared?: boolean}} News */

const BEGUN = { state: "starting", seconds: 0 };

/** @param {{close: () => void}} props */
export function Start({ close }) {
  const { feed, say } = usePanel();
  const [news, setNews] = useState(/** @type {News} */ (BEGUN));
  const [turn, setTurn] = useState(0);
  const take = (/** @type {News} */ line) => {
    setNews(line);
    if (line.state !== "ready") return;
    say(`${t("connect.ready")} ${line.is_shared ? t("connect.shared") : ""}`.trim());
    feed.tell("changed", { kind: "connection" });
    close();
  };
  const fail = (/** @type {string} */ text) => setNews({ state: "failed", text });
  const isEnd = (/** @type {News} */ { state }) => state !== BEGUN.state;
  useSteps("/here/start", { take, isEnd, fail, brokenOff: "connect.start_broken_off" }, [turn]);
  const again = () => {
    setNews(BEGUN);
    setTurn(turn + 1);
  };
  return html`
    <section class="outpost-section outpost-box" aria-label=${t("connect.here")}>
      ${news.state === "failed" ? html`<${Failure} ...${news} close=${close} again=${again} />` : html`<${Waiting} ...${news} />`}
    </section>
  `;
}

/** @param {News} props */
const Waiting = ({ seconds = 0 }) => html`
  <p role="status">${icon("pi-spin pi-spinner")} ${t("connect.starting", { count: seconds })}</p>
  <p class="outpost-hint">${t("connect.starting_hint")}</p>
`;

/** @param {News & {close: () => void, again: () => void}} props */
const Failure = ({ text, log, close, again }) => html`
  <h3 class="outpost-bad" role="alert">${t("connect.start_failed")}</h3>
  <p class="outpost-whole" dir="auto">${text}</p>
  ${
    !!log?.length &&
    html`<details open><summary>${t("connect.log")}</summary><pre class="outpost-code" tabindex="0">${log.join("\n")}</pre></details>`
  }
  <${Buttons} items=${[
    { label: t("connect.close"), do: close },
    { label: t("panel.again"), do: again, isMain: true },
  ]} />
`;
