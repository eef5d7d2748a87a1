// A workflow at a glance.

import { Cover, html, joined, t } from "../../kit/kit.js";
import { workflowPath } from "../../model/paths.js";
import { ago, moment } from "../../model/time.js";

/** A picture of what it makes. @param {string} id */
export const coverOf = (id) => html`<${Cover} key=${id} of=${workflowPath(id)} sign="pi-sitemap" />`;

/** Its newest version, and when it changed. @param {WorkflowRow} workflow */
export const aboutOf = ({ version, updated_at: time }) => html`
  <span title=${moment(time)}>${joined(version && t("version.name", { number: version }), ago(time))}</span>
`;
