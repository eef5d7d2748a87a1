// Machines as they are now.

import { useChanges, useEffect, useEvent, usePanel, useState } from "../../kit/kit.js";

/**
 * Read something again when a machine is another. How a machine is comes with its event: reading would ask the machine.
 * @param {Pick<Loaded<unknown>, "value" | "again">} loaded
 * @returns {<Row extends MachineRow>(machine: Row) => Row} the machine as it is now
 */
export function useMachineEvents({ value, again }) {
  const [told, setTold] = useState(/** @type {Record<string, LiveEvents["machine"]>} */ ({}));
  useEffect(() => setTold({}), [value]);
  useEvent(usePanel().feed, "machine", (event) => setTold((before) => ({ ...before, [event.id]: event })));
  useChanges(["machine"], again);
  return (machine) => ({ ...machine, ...told[machine.id] });
}
