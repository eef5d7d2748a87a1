// Where the panel is, and the way back.

const LONGEST = 20;

/**
 * The way with another place at its end. A place that is asked for twice is there once.
 * @param {Place[]} way the newest place last
 * @param {Place} place
 * @returns {Place[]}
 */
export function went(way, place) {
  const here = way.at(-1);
  if (here?.view === place.view && JSON.stringify(here.about) === JSON.stringify(place.about)) return way;
  return [...way, place].slice(-LONGEST);
}

/** The way without its last place. The first one stays. @param {Place[]} way */
export function cameBack(way) {
  return way.length > 1 ? way.slice(0, -1) : way;
}
