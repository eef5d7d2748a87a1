// What a person sets about this package in the page's own settings. ComfyUI keeps it.

import { t } from "./texts.js";

/** Whether runs that end while the panel is closed are told of. */
export const TOASTS = "Outpost.Toasts";

/** What becomes of remote runs when ComfyUI is closed while they are at work. */
const onClose = () => ({
  id: "Outpost.OnClose",
  category: ["Outpost", "Runs", "OnClose"],
  name: t("setting.on_close"),
  tooltip: t("setting.on_close_hint"),
  type: "combo",
  options: ["leave", "cancel"].map((value) => ({ text: t(`setting.on_close_${value}`), value })),
  defaultValue: "leave",
});

/** The settings of pages that have them in a dialog of its own. @param {() => void} openConnections */
export const settingsOf = (openConnections) => [
  onClose(),
  {
    id: TOASTS,
    category: ["Outpost", "Runs", "Toasts"],
    name: t("setting.toasts"),
    type: "boolean",
    defaultValue: true,
  },
  {
    id: "Outpost.Connections",
    category: ["Outpost", "Connections", "Open"],
    name: t("setting.connect"),
    type: () => {
      const look = { type: "button", className: "outpost-setting", textContent: t("setting.connect_open") };
      return Object.assign(document.createElement("button"), { ...look, onclick: openConnections });
    },
    defaultValue: "",
  },
];

/** The setting of pages that do not look for settings in extensions: those ask which choice is chosen. */
export function oldSetting() {
  const setting = onClose();
  const options = (/** @type {string} */ chosen) =>
    setting.options.map((each) => ({ ...each, selected: each.value === chosen }));
  return { ...setting, options };
}
