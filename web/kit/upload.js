// Sends a file to one of this package's routes, and tells how much of it has gone.

import { headersOf, RouteError } from "../routes.js";
import { t } from "../texts.js";

/**
 * @param {Panel} panel
 * @param {string} path below `/outpost`, with its query
 * @param {Blob} file
 * @param {(share: number) => void} onProgress from 0 to 1
 * @param {AbortSignal} [signal]
 * @param {string | null} [connection] where it is to come to
 * @returns {Promise<any>} what the route answers
 */
export function uploadFile({ comfy, routes }, path, file, onProgress, signal, connection = routes.connection) {
  return new Promise((resolve, reject) => {
    const cancelled = () => new DOMException("The upload was cancelled.", "AbortError");
    if (signal?.aborted) return reject(cancelled());
    const request = new XMLHttpRequest(); // fetch does not tell of what is sent
    request.open("POST", comfy.addressOf(`/outpost${path}`));
    request.responseType = "json";
    const headers = { ...headersOf(connection), "Content-Type": "application/octet-stream" };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress(total ? loaded / total : 1);
    request.onloadend = () => {
      const { status, response } = request;
      if (status >= 200 && status < 300 && response) return resolve(response);
      if (signal?.aborted) return reject(cancelled());
      reject(new RouteError(response?.detail ?? t(status ? "upload.refused" : "upload.gone"), status, response?.code));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
