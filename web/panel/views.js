// The views of the panel, by name.

import { AssetsView } from "./assets/assets.js";
import { ConnectButton, ConnectView } from "./connect/connect.js";
import { DeployButton, DeployView } from "./deploy/deploy.js";
import { DeploymentsView } from "./deployments/deployments.js";
import { MachinesView } from "./machines/machines.js";
import { RunForm } from "./runs/form.js";
import { RunsView } from "./runs/runs.js";
import { WorkflowsView } from "./workflows/workflows.js";

/** @type {Record<string, {component: any, icon?: string, button?: any}>} `button`: what stands for it at the top */
export const VIEWS = {
  workflows: { component: WorkflowsView, icon: "pi-sitemap" },
  deployments: { component: DeploymentsView, icon: "pi-cloud" },
  runs: { component: RunsView, icon: "pi-play" },
  machines: { component: MachinesView, icon: "pi-server" },
  assets: { component: AssetsView, icon: "pi-images" },
  connect: { component: ConnectView, button: ConnectButton },
  deploy: { component: DeployView, button: DeployButton },
  run: { component: RunForm },
};

/** Those that have a tab. */
export const TOP = ["workflows", "deployments", "runs", "machines", "assets"];
