// What lists say that are empty until something is deployed.

import { Empty, html, t, usePanel } from "../../kit/kit.js";

/** @param {{kind: "workflow" | "deployment", search?: string, clear?: () => void}} props `search`: by which nothing is found */
export function Nothing({ kind, search, clear }) {
  const { go } = usePanel();
  return search
    ? html`<${Empty} text=${t(`${kind}.not_found`, { search })} action=${{ label: t(`${kind}.clear`), do: clear }} />`
    : html`<${Empty} text=${t(`${kind}.none`)} hint=${t(`${kind}.none_hint`)}
        action=${{ label: t("panel.deploy"), do: () => go("deploy") }} />`;
}
