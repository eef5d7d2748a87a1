// What views read, as hooks: something that is loaded, a list that comes page by page, and live events.

import { withPage } from "../model/pages.js";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "../view.js";

/** @import { Feed } from "../feed.js" */

const UNREAD = { value: null, error: null, isLoading: true };

/** @template {{isLoading: boolean}} State @param {State} state @returns {State} */
const loading = (state) => (state.isLoading ? state : { ...state, isLoading: true });

/**
 * Read something when the view comes, and again when one of `deps` changes.
 * @template Value
 * @param {() => Promise<Value>} read
 * @param {unknown[]} deps
 * @returns {Loaded<Value>}
 */
export function useLoaded(read, deps) {
  const [state, setState] = useState(/** @type {Omit<Loaded<Value>, "again">} */ (UNREAD));
  const asked = useRef(0);
  const load = useCallback(() => {
    const turn = ++asked.current; // an answer that a later question has overtaken is not shown
    setState(loading);
    read().then(
      (value) => turn === asked.current && setState({ value, error: null, isLoading: false }),
      (error) => turn === asked.current && setState((before) => ({ ...before, error, isLoading: false })),
    );
  }, deps);
  // Asked before the view is drawn: the answer is on its way while the browser is at that.
  useLayoutEffect(() => {
    setState(UNREAD);
    load();
    return () => {
      asked.current += 1;
    };
  }, [load]);
  return { ...state, again: useNewest(load) };
}

/**
 * A function that stays the same, and calls the newest of those that it stands for: whoever was given it by a former
 * rendering does not ask a question that has been overtaken.
 * @param {() => void} act
 */
function useNewest(act) {
  const newest = useRef(act);
  newest.current = act;
  return useCallback(() => newest.current(), []);
}

/** @type {{rows: any[], error: Error | null, isLoading: boolean, hasMore: boolean}} */
const NO_PAGES = { rows: [], error: null, isLoading: true, hasMore: true };

/**
 * Read a list page by page, from the beginning again when one of `deps` changes.
 * @template {{id: string}} Row
 * @param {(offset: number, signal: AbortSignal) => Promise<{rows: Row[], more: boolean}>} read what is overtaken by a
 *   later question is broken off
 * @param {unknown[]} deps
 * @returns {Pages<Row>}
 */
export function usePages(read, deps) {
  const [state, setState] = useState(/** @type {typeof NO_PAGES & {rows: Row[]}} */ (NO_PAGES));
  const asking = useRef(new AbortController());
  const held = useRef(state);
  held.current = state;
  // What is changed while a page is on its way is newer than what is in it.
  const changes = useRef(/** @type {((rows: Row[]) => Row[])[] | null} */ (null));
  const stale = useRef(/** @type {Set<string>} */ (new Set())); // what may have changed since it was read
  const firstSeen = useRef("");
  const placeOf = (/** @type {string | undefined} */ id) => held.current.rows.findIndex((row) => row.id === id);

  const load = useCallback((/** @type {number} */ offset) => {
    asking.current.abort();
    asking.current = new AbortController();
    const { signal } = asking.current;
    const known = held.current;
    changes.current = [];
    setState(loading);
    /** @param {number} from @returns {Promise<void>} */
    const more = async (from) => {
      const page = await read(from, signal);
      if (signal.aborted) return;
      for (const { id } of page.rows) stale.current.delete(id);
      const { rows, hasMore } = withPage(known, from, page);
      const isKnown = from >= known.rows.length && rows.length <= known.rows.length; // others came in before it
      if (isKnown && hasMore) return more(from + page.rows.length);
      const newest = (changes.current ?? []).reduce((found, change) => change(found), rows);
      changes.current = null;
      setState({ rows: newest, error: null, isLoading: false, hasMore });
    };
    more(offset).catch((error) => {
      if (signal.aborted) return;
      changes.current = null;
      setState((before) => ({ ...before, error, isLoading: false }));
    });
  }, deps);

  useLayoutEffect(() => {
    stale.current.clear();
    held.current = NO_PAGES;
    setState(NO_PAGES);
    load(0);
    return () => asking.current.abort();
  }, [load]);
  const next = useCallback(() => {
    const { isLoading, hasMore, error, rows } = held.current;
    if (!isLoading && hasMore && !error) load(rows.length);
  }, [load]);
  const seen = useCallback(
    (/** @type {Row[]} */ rows, /** @type {boolean} */ isAtEnd) => {
      const { isLoading, error } = held.current;
      firstSeen.current = rows[0]?.id;
      const place = placeOf(rows.find(({ id }) => stale.current.has(id))?.id);
      if (place < 0) return isAtEnd && next();
      if (!isLoading && !error) load(place);
    },
    [load],
  );
  const again = useNewest(() => {
    stale.current = new Set(held.current.rows.map(({ id }) => id));
    load(Math.max(0, placeOf(firstSeen.current)));
  });
  const change = useCallback((/** @type {(rows: Row[]) => Row[]} */ how) => {
    changes.current?.push(how);
    setState((before) => ({ ...before, rows: how(before.rows) }));
  }, []);
  return { ...state, next, seen, again, change };
}

/**
 * Like useState, but the value is still there when the view comes back.
 * @template Value
 * @param {Panel} panel
 * @param {string} key
 * @param {Value} initial
 * @returns {[Value, (value: Value) => void]}
 */
export function useKept({ kept }, key, initial) {
  const [value, setValue] = useState(/** @type {Value} */ (kept.get(key) ?? initial));
  const set = (/** @type {Value} */ next) => {
    kept.set(key, next);
    setValue(() => next);
  };
  return [value, set];
}

/**
 * Hear live events while the view is there.
 * @template {keyof LiveEvents} Name
 * @param {Feed} feed
 * @param {Name} name
 * @param {(event: LiveEvents[Name]) => void} listener may be another one at every rendering
 */
export function useEvent(feed, name, listener) {
  const latest = useRef(listener);
  latest.current = listener;
  useLayoutEffect(() => feed.on(name, (event) => latest.current(event)), [feed, name]);
}

/**
 * A value as it was when it last stayed for a while, such as what is being typed.
 * @template Value
 * @param {Value} value
 * @param {number} [wait] milliseconds
 */
export function useLater(value, wait = 250) {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(() => value), wait);
    return () => clearTimeout(timer);
  }, [value, wait]);
  return late;
}

/**
 * A function that does something once, a little after it was called, however often it is called until then. Calls that
 * do not end do not put it off.
 * @param {() => void} act may be another one at every rendering
 * @param {number} [wait] milliseconds
 */
export function useCalm(act, wait = 200) {
  const latest = useRef(act);
  latest.current = act;
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  return useCallback(() => {
    timer.current ||= setTimeout(() => {
      timer.current = 0;
      latest.current();
    }, wait);
  }, [wait]);
}
