/** What htm-preact-3.1.1.js gives, as far as a panel needs it. */

/** Something to be shown. `h` makes it, `render` brings it onto the page. */
export interface VNode {
  type: unknown;
  props: Record<string, unknown>;
  key: string | number | null | undefined;
}

/** What may stand between two tags: texts become text, and nothing is shown of null, undefined and booleans. */
export type Child = VNode | string | number | boolean | null | undefined | Child[];

/** A view: from its properties, and what stands between its tags, to what is shown. */
export type View<Props = object> = (props: Props & { children?: Child }) => Child;

export function h(type: string | View<never> | typeof Component<never>, props: object | null, ...children: Child[]): VNode;

/** Show something in an element, in place of what this function has shown there before. Null takes everything away. */
export function render(child: unknown, parent: Element | DocumentFragment): void;

export abstract class Component<Props = object, State = object> {
  constructor(props?: Props, context?: unknown);
  props: Props & { children?: Child };
  state: State;
  /** The element that is shown for it. */
  base?: Element | Text;
  setState(change: Partial<State> | ((state: State, props: Props) => Partial<State> | null), done?: () => void): void;
  forceUpdate(done?: () => void): void;
  abstract render(props: Props & { children?: Child }, state: State): Child;
  componentDidMount?(): void;
  componentDidUpdate?(props: Props, state: State): void;
  componentWillUnmount?(): void;
  shouldComponentUpdate?(props: Props, state: State): boolean;
  componentDidCatch?(error: unknown): void;
}

/** A value for all views inside its `Provider`. */
export interface Context<Value> {
  Provider: View<{ value: Value }>;
}

export function createContext<Value>(initial: Value): Context<Value>;
export function useContext<Value>(context: Context<Value>): Value;

/** A change: the new value, or how it comes from the old one. */
export type Change<State> = State | ((before: State) => State);

export function useState<State>(initial: State | (() => State)): [State, (change: Change<State>) => void];
export function useReducer<State, Action>(
  reduce: (state: State, action: Action) => State,
  initial: State,
): [State, (action: Action) => void];

/** After the page was drawn. What it answers is called before the next time, and when the view goes. */
export function useEffect(effect: () => void | (() => void), depends?: readonly unknown[]): void;
/** Before the page is drawn. */
export function useLayoutEffect(effect: () => void | (() => void), depends?: readonly unknown[]): void;

/** A box that stays the same while the view is shown. As `ref` of an element it holds that element. */
export function useRef<Value>(initial: Value): { current: Value };
export function useRef<Value>(initial: null): { current: Value | null };

export function useMemo<Value>(make: () => Value, depends: readonly unknown[]): Value;
export function useCallback<Args extends unknown[], Result>(
  callback: (...args: Args) => Result,
  depends: readonly unknown[],
): (...args: Args) => Result;

/** The error with which a view inside this one has failed, and a function to try again. */
export function useErrorBoundary(failed?: (error: unknown) => void): [unknown, () => void];
