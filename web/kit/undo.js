// Deleting that can be undone: a while passes before the platform is told.

const WAIT_MS = 6000;

export class Deletions {
  /** @type {Map<string, {name: string, run: () => Promise<unknown>, timer: number}>} */
  #pending = new Map();
  /** @type {Set<string>} what is being deleted, or is */
  #gone = new Set();
  /** @type {Set<Promise<void>>} what the platform is being told */
  #running = new Set();

  /**
   * @param {(pending: Pending[]) => void} show is told what can still be undone, the newest last
   * @param {(error: Error) => void} fail is told when something could not be deleted
   */
  constructor(show, fail) {
    this.show = show;
    this.fail = fail;
  }

  /**
   * Delete something after a while.
   * @param {string} key what it is
   * @param {string} name what people call it
   * @param {() => Promise<unknown>} run deletes it
   */
  add(key, name, run) {
    if (this.#pending.has(key)) return;
    this.#pending.set(key, { name, run, timer: setTimeout(() => this.#do(key), WAIT_MS) });
    this.#tell();
  }

  /** Whether something is deleted, or about to be, so that lists leave it out. @param {string} key */
  has(key) {
    return this.#pending.has(key) || this.#gone.has(key);
  }

  /** Do at once what is waiting: another platform is going to be chosen, or the page is left. It is over when that has answered. */
  async flush() {
    for (const key of [...this.#pending.keys()]) this.#do(key);
    await Promise.all(this.#running);
  }

  /**
   * Give up what is waiting: its platform is not the one that would be asked.
   * @returns {string[]} the names of what is not deleted
   */
  drop() {
    this.#gone.clear();
    const names = [...this.#pending.keys()].map((key) => /** @type {string} */ (this.#take(key)?.name));
    this.#tell();
    return names;
  }

  /** No longer wait with something. @param {string} key */
  #take(key) {
    const found = this.#pending.get(key);
    clearTimeout(found?.timer);
    this.#pending.delete(key);
    return found;
  }

  /** @param {string} key */
  #do(key) {
    const found = this.#take(key);
    if (!found) return;
    this.#gone.add(key);
    this.#tell();
    const failed = (/** @type {Error} */ error) => {
      this.#gone.delete(key);
      this.#tell();
      this.fail(error);
    };
    const run = found
      .run()
      .catch(failed)
      .then(() => void this.#running.delete(run));
    this.#running.add(run);
  }

  #tell() {
    const undo = (/** @type {string} */ key) => () => {
      this.#take(key);
      this.#tell();
    };
    this.show([...this.#pending].map(([key, { name }]) => ({ key, name, undo: undo(key) })));
  }
}
