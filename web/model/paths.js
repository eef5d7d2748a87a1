// The paths of what routes know. An id may be anything that a graph remembers, and is no way to elsewhere.

/** @param {string} id */
export const workflowPath = (id) => /** @type {const} */ (`/workflows/${encodeURIComponent(id)}`);

/** @param {string} id of the workflow @param {number} number */
export const versionPath = (id, number) => /** @type {const} */ (`${workflowPath(id)}/versions/${Number(number)}`);

/** @param {string} id */
export const deploymentPath = (id) => /** @type {const} */ (`/deployments/${encodeURIComponent(id)}`);

/** @param {string} id */
export const machinePath = (id) => /** @type {const} */ (`/machines/${encodeURIComponent(id)}`);

/**
 * What `catch` makes of an answer that means: there is none. Other errors go on.
 * @param {number[]} statuses
 */
export const noneFor = (...statuses) => {
  return (/** @type {{status?: number}} */ error) => {
    if (!statuses.includes(error.status ?? 0)) throw error;
    return null;
  };
};
