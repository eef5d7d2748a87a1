// The form of a connection that is added or changed, and signing in through the browser.

import { Button, Form, html, openView, Problem, TextField, t, useEffect, useRef, useState } from "../../kit/kit.js";
import { HOSTED, isAway, pathOf, wishOf } from "../../model/connections.js";

/**
 * Ask for a connection until it is kept or the dialog is left.
 * @param {Panel} panel
 * @param {ConnectionRow["kind"]} kind
 * @param {ConnectionRow} [row] that is changed
 * @returns {Promise<boolean | null>}
 */
export function openForm(panel, kind, row) {
  const isHosted = kind === "hosted" && !row;
  const save = async (/** @type {FormData} */ data, /** @type {boolean} */ isUntried) => {
    const wish = { ...wishOf(data), is_untried: isUntried };
    await panel.deletions.flush();
    await (row ? panel.routes.send("PATCH", pathOf(row.id), wish) : panel.routes.send("POST", "/connections", wish));
    return true;
  };
  const refused = (/** @type {RouteError} */ error, /** @type {() => void} */ anyway) =>
    isAway(error) && html`<${Button} label=${t("connect.anyway")} do=${anyway} />`;
  return openView(
    t(row ? "connect.edit" : `connect.${kind}`),
    (/** @type {(made: boolean | null) => void} */ close) => html`
      <${Form} save=${save} close=${close} yes=${t(row ? "dialog.save" : "connect.connect")} busy=${t("connect.trying")}
        refused=${refused}>
        ${
          isHosted
            ? html`<${SignIn} panel=${panel} close=${close} /><input type="hidden" name="base_url" value=${HOSTED} />`
            : html`<${TextField} label=${t("connect.base_url")} name="base_url" inputmode="url" required
                dir="ltr" placeholder="https://outpost.example.com" value=${row?.base_url} />`
        }
        <${TextField} label=${t("connect.api_key")} hint=${t(row ? "connect.key_kept" : "connect.key_hint")} name="api_key"
          type="password" dir="ltr" autocomplete="new-password" required=${!row} />
        ${!row && html`<${TextField} label=${t("connect.name")} hint=${t("connect.name_hint")} name="name" maxlength="200" />`}
      <//>
    `,
  );
}

/** @param {{panel: Panel, close: (made: boolean | null) => void}} props */
function SignIn({ panel: { routes, deletions, say }, close }) {
  const [url, setUrl] = useState("");
  const [problem, setProblem] = useState("");
  const leaving = useRef(new AbortController()).current;
  useEffect(() => () => leaving.abort(), []);
  const begin = async () => {
    const { signal } = leaving;
    setProblem("");
    try {
      const begun = await routes.send("POST", "/sign-in");
      setUrl(begun.url);
      window.open(begun.url, "_blank", "noopener,noreferrer");
      await deletions.flush();
      while (!(await routes.get(`/sign-in/${begun.sign_in_id}`, {}, { signal })).is_done) signal.throwIfAborted();
      say(t("connect.signed_in"));
      close(true);
    } catch (error) {
      if (signal.aborted) return;
      setUrl("");
      setProblem(/** @type {Error} */ (error).message);
    }
  };
  return html`
    <div class="outpost-section">
      ${
        url
          ? html`<p role="status">${t("connect.signing_in")}</p>
              <a href=${url} target="_blank" rel="noopener noreferrer">${t("connect.sign_in_page")}</a>`
          : html`<${Button} label=${t("connect.sign_in")} do=${begin} isMain />
              <small>${t("connect.sign_in_hint")}</small>`
      }
      ${problem && html`<${Problem} text=${problem} />`}
    </div>
  `;
}
