// One run: how it is, why it failed, what went into it and what came out.

import {
  Ago,
  Button,
  Buttons,
  copied,
  Facts,
  Heading,
  html,
  joined,
  Loading,
  Section,
  State,
  t,
  useChanges,
  useEvent,
  useLoaded,
  usePanel,
  useState,
  whenRead,
} from "../../kit/kit.js";
import { doingOf, hasFailed, isActive, runPath, stateOf, titleOf, tookOf, waitOf, withNews } from "../../model/runs.js";
import { deedsOf, errorOf, likelyOf } from "./deeds.js";
import { RunProgress, useClock, usePreviews } from "./live.js";
import { Outputs } from "./outputs.js";

/** @param {{id: string}} props */
export function RunView({ id }) {
  const panel = usePanel();
  const loaded = useLoaded(() => panel.routes.get(runPath(id)), [id]);
  const [news, setNews] = useState(/** @type {RunRow | null} */ (null));
  useEvent(panel.feed, "run", (run) => {
    if (run.id !== id) return;
    setNews(run);
    if (!isActive(run)) loaded.again(); // its outputs are told only when it is read
  });
  useChanges(["run"], () => {
    setNews(null);
    loaded.again();
  });
  const { value } = loaded;
  // The newest that is known: what was read at the end of a run is newer than the last of its events.
  const run = value && news && isActive(value) ? { ...withNews(value, news), error: value.error ?? news.error } : value;
  const now = useClock(!!run && isActive(run));
  const previewOf = usePreviews();
  return whenRead({ ...loaded, value: run }, (run) => {
    const [isGoing, preview] = [isActive(run), previewOf(run)];
    const facts = [
      ["machine", joined(run.machine, run.gpu)],
      ["state_queued", waitOf(run)],
      ["asked", html`<${Ago} time=${run.created_at} now=${now} />`],
      [isGoing ? "going" : "took", tookOf(run, now)],
      ["run_id", id],
    ];
    return html`
      <div class="outpost-page">
        <header class="outpost-section">
          <${Heading} title=${titleOf(run)} items=${deedsOf(panel, run).slice(1)} />
          <p role="status"><${State} ...${stateOf(run)} about=${doingOf(run)} /></p>
          ${isGoing && html`<${RunProgress} run=${run} />`}
          <${Buttons} items=${likelyOf(panel, run)} />
        </header>
        ${isGoing && preview && html`<img class="outpost-large" alt=${t("runs.preview")} src=${preview} />`}
        ${hasFailed(run) && html`<${Trouble} run=${run} />`}
        ${!isGoing && (value && isActive(value) ? html`<${Loading} />` : html`<${Outputs} run=${run} />`)}
        <${Section} title=${t("runs.inputs")} hint=${!run.inputs.length && t("runs.no_inputs")}>
          <${Facts} facts=${run.inputs.map((input) => [input.input_id, saidOf(input)])} />
        <//>
        <${Facts} facts=${facts.map(([key, fact]) => [t(`runs.${key}`), fact])} />
      </div>
    `;
  });
}

/** What is empty is shown, too: it was given. @param {RunInput} input */
function saidOf({ value, files }) {
  const text = files ? files.map(({ name }) => name).join(", ") : value;
  return (typeof text === "string" ? text : JSON.stringify(text)) || "—";
}

/** @param {{run: RunDetail}} props */
function Trouble({ run }) {
  const panel = usePanel();
  const text = errorOf(run);
  return html`
    <section class="outpost-section">
      <pre class="outpost-code outpost-bad" tabindex="0" dir="auto">${text}</pre>
      <${Button} label=${t("runs.error")} icon="pi-copy" do=${() => copied(panel, text)} />
    </section>
  `;
}
