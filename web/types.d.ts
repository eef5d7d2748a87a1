// What this package's modules hand to each other, and what its routes answer. Each name is known in every module.

/** One of the account's deployments. */
interface Deployment {
  id: string;
  name: string;
  environment: string;
  workflow_id?: string | null;
  machine?: string | null;
  is_active?: boolean;
  updated_at?: string | null;
}

/** A deployment, as the panel lists it. */
interface DeploymentRow extends Deployment {
  workflow: string | null;
  version: number | null;
  workflow_version_id: string | null;
  machine_id: string | null;
}

/** What a graph takes and gives when it is deployed. */
interface GraphForm {
  inputs: Field[];
  outputs: Output[];
  /** How many of its values can be set without being inputs. */
  open: number;
  warnings: { kind: "empty" | "no_output" | "twice"; name: string }[];
}

/** A file or folder of the library. */
interface Asset {
  id: string;
  name: string;
  path: string;
  is_folder: boolean;
  kind?: string;
  size?: number;
  updated_at?: string | null;
}

/** What the library is read by. */
interface LibrarySource {
  routes: Routes;
  addressOf(path: string): string;
  /** Live events, where it is to follow them. */
  feed?: Panel["feed"];
}

/** Where somebody is in the library. */
interface LibraryPlace {
  path: string;
  query: string;
}

/** How the library is shown. */
interface LibraryView extends LibraryPlace {
  source: LibrarySource;
  onPlace(place: LibraryPlace): void;
  onPick(asset: Asset): void;
  isTiled?: boolean;
  /** Whether something is shown. */
  keep?(asset: Asset): boolean;
  /** What stands beside each thing, such as a menu. */
  more?(asset: Asset): unknown;
  /** What stands beside the search. */
  tools?: unknown;
  /** What makes an element a place to drop assets on that are to come into a folder. */
  drop?(folder: string): Record<string, (event: DragEvent) => void>;
  /** What to do about an empty folder. */
  none?: string;
}

/** How a value is asked for. */
interface Widget {
  type: "text" | "multiline" | "int" | "float" | "boolean" | "combo" | "seed";
  /** What it holds at first. */
  default?: unknown;
  min?: number | null;
  max?: number | null;
  step?: number | null;
  options?: string[] | null;
  is_slider?: boolean;
}

/** How a field differs from what a person had chosen. */
type Mark = "gone" | "changed";

/** An input of a deployment. */
interface Field {
  input_id: string;
  kind: string;
  label: string;
  tooltip?: string | null;
  /** The types that may be connected, with commas between them. */
  socket: string;
  has_alpha?: boolean;
  is_required?: boolean;
  /** Whether it is one of the many values of the graph that may be set, but seldom are. */
  is_open?: boolean;
  widget: Widget | null;
  mark?: Mark;
  /** The kind that it had. */
  was?: string;
}

/** An output of a deployment. */
interface Output {
  name: string;
  /** One without a name of its own is called by the id of its node. Not known in older graphs. */
  is_named?: boolean;
  /** Of its node. */
  class_type?: string;
  kind: string;
  socket: string;
  mark?: Mark;
  was?: string;
}

/** What a deployment takes and gives, and what a node shows of it, with marks. */
interface Shape {
  id: string;
  name: string;
  environment: string;
  inputs: Field[];
  outputs: Output[];
}

/** A socket or widget that stands for an input of a deployment on a node. */
interface Port {
  /** What it is called in the prompt. */
  name: string;
  inputId: string;
  label: string;
  tooltip: string;
  /** The types that may be connected, with commas between them. */
  type: string;
  widget: Widget | null;
  isRequired: boolean;
  isMarked: boolean;
}

/** How nodes of one class are built. */
interface Build {
  /** The names of the node's own inputs. */
  own: string[];
  /** The slot of the first output that belongs to the deployment. */
  firstOutput: number;
  addWidget(node: ComfyUI.Node, name: string, input: ComfyUI.Input): ComfyUI.Widget;
}

/** How a run of a node is, or was. */
interface RunReport {
  run_id?: string;
  status?: string;
  seconds?: number | null;
  message?: string | null;
}

/** A line of text on a node. */
interface Line {
  text: string;
  kind?: "status" | "failed" | "remark";
  hint?: string;
}

/** What a node says: what it is at, how its run is, and what a person should know. */
interface News {
  status?: Line | null;
  run?: Line | null;
  remarks?: string[];
}

/** How a name that somebody has typed is shown. */
type Shown = (name: unknown, longest?: number) => string;

/** Makes a function safe to be called by the page: it is told of once when it fails. */
type Guard = <This, Args extends unknown[]>(
  hook: (this: This, ...args: Args) => unknown,
) => (this: This, ...args: Args) => void;

/** What is done before and after the page's own functions of a node. */
type Hooks = {
  [Name in keyof ComfyUI.NodeHooks]?: Partial<
    Record<
      "before" | "after",
      (this: ComfyUI.Node, ...args: Parameters<NonNullable<ComfyUI.NodeHooks[Name]>>) => unknown
    >
  >;
};

/** The page as this package's nodes see it. */
type Page = ReturnType<typeof import("./page.js").makePage> & {
  /** Ask for a file of the library; null when the dialog was left. */
  pickAsset(source: LibrarySource, title: string): Promise<Asset | null>;
};

/** A row of a list, and its menu. */
interface RowProps {
  title: string;
  /** Shown when the pointer rests on it. */
  full?: string;
  about?: unknown;
  picture?: unknown;
  state?: unknown;
  open: () => void;
  items?: Item[];
  /** What its menu calls it. */
  name?: string;
  class?: string;
  /** Further lines below the title. */
  children?: unknown;
  [attribute: string]: unknown;
}

/** A list whose rows are all equally high. */
interface ListProps<Row> {
  rows: Row[];
  rowHeight: number;
  label: string;
  hasMore?: boolean;
  isLoading?: boolean;
  /** Is told what is on the page, at every rendering. */
  onSight?: (rows: Row[], isAtEnd: boolean) => void;
  row: (row: Row, index: number) => unknown;
}

/** A form in a dialog. */
interface FormProps<Made> {
  save: (data: FormData, isAnyway: boolean) => Promise<Made>;
  close: (made: Made | null) => void;
  yes: string;
  /** On the button while it is done. */
  busy?: string;
  isOff?: boolean;
  /** What can be done about an error, such as to do it anyway. */
  refused?: (error: RouteError, anyway: () => void) => unknown;
  children?: unknown;
}

/** Where a view of the canvas has to begin, and how large it shows the graph. */
type ViewOf = (
  nodes: { pos: ArrayLike<number>; size: ArrayLike<number> }[],
  canvas: Pick<DOMRect, "left" | "right" | "width" | "height">,
  /** What lies over its left or its right end. */
  cover?: Pick<DOMRect, "left" | "right">,
) => { scale: number; offset: [x: number, y: number] };

/** A widget that could become an input of a deployment, or the image that a node loads. */
interface Exposable {
  node: ComfyUI.Node;
  /** Of the node. */
  title: string;
  isSelected: boolean;
  name: string;
  /** `IMAGE`, `STRING`, `BOOLEAN`, `INT`, `FLOAT`, `COMBO`, or one of which nothing is known here. */
  type: string;
  value: unknown;
  min?: number;
  max?: number;
  options?: unknown[];
  isMultiline?: boolean;
}

/** What stands for a widget: a kind of External node, and the values of its widgets. */
interface Stand {
  kind: string;
  values: Record<string, unknown>;
  /** Whether the node cannot hold the widget's own value. */
  isOther?: boolean;
}

/** A workflow, as lists show it. */
interface WorkflowRow {
  id: string;
  name: string;
  description: string;
  pinned: boolean;
  /** The number of its newest version, where the platform tells it. */
  version: number | null;
  created_at: string | null;
  updated_at: string | null;
}

/** A version of a workflow, without its graphs. */
interface VersionRow {
  id: string;
  workflow_id: string;
  version: number;
  comment: string;
  author: string | null;
  created_at: string | null;
}

/** A node of a graph that is compared; where it is in both, with what is different. */
interface Difference {
  id: string;
  class_type: string;
  title: string;
  changes?: Change[];
}

/** An input that is different; `undefined` where it is not there. */
interface Change {
  name: string;
  before: unknown;
  after: unknown;
}

/** How two graphs differ; `same` counts the nodes that do not. */
interface Comparison {
  added: Difference[];
  removed: Difference[];
  changed: Difference[];
  same: number;
}

/** A machine, as lists show it. What is not known is null. */
interface MachineRow {
  id: string;
  name: string;
  kind: string;
  status: string;
  /** Why it takes no runs, if that is so. */
  reason: string | null;
  slots: number | null;
  /** How many of its processes are there, of one that is started on demand. */
  processes: number | null;
  queue: number | null;
  working: number | null;
  gpu: string | null;
  vram_total: number | null;
  vram_free: number | null;
  comfyui_version: string | null;
  python_version: string | null;
  pytorch_version: string | null;
  /** What can be done with it: `edit`, `delete`, `start`, `stop`, `logs`, `check`. */
  can: string[];
}

/** A machine with what is in it and what uses it. */
interface MachineDetail extends MachineRow {
  endpoint: string | null;
  idle_timeout: number | null;
  keep_warm: boolean | null;
  machine_ids: string[] | null;
  created_at: string | null;
  members: MachineRow[];
  /** The pools that it is in. */
  pools: MachineRow[];
  deployments: {
    id: string;
    name: string;
    environment: string;
    workflow_id: string | null;
  }[];
}

/** The machines, and the kinds that can be added. */
interface MachineOffers {
  machines: MachineRow[];
  offers: string[];
  /** The names of what the server may start on demand; null where it does not tell. */
  comfyuis: string[] | null;
}

/** What a process of a machine has printed. */
interface MachineLog {
  name: string;
  started_at: string;
  is_running: boolean;
  text: string;
}

/** What a machine lacks for a graph. */
interface Verdict {
  is_known: boolean;
  /** Why it is not known. */
  reason: string | null;
  lacks: Lack[];
}

interface Lack {
  kind: "node_class" | "choice" | "required_input";
  node_id: string | null;
  node_class: string;
  input_name: string | null;
  value: string | null;
  /** What the machine has that is written alike. */
  near: string[];
  message: string;
}

/** A platform that is set up, without its key. */
interface ConnectionRow {
  id: string;
  name: string;
  base_url: string | null;
  /** The last letters of its key; null where too much would be told by them. */
  key_ending: string | null;
  kind: "here" | "hosted" | "server";
  /** Why it cannot be changed here, if that is so. */
  why_fixed: string | null;
}

/** The connections of this computer. */
interface Connections {
  connections: ConnectionRow[];
  current: string | null;
  /** The platform that can be started on this computer; null where there can be none. */
  here: { state: "off" | "starting" | "ready"; is_shared: boolean } | null;
  /** Why they cannot be read. */
  problem: string | null;
}

/** How it stands with a step of a test. */
interface TrialStep {
  name: string;
  state: "begun" | "ok" | "failed" | "skipped";
  text: string;
  /** What could be run. */
  choices?: { id: string; name: string; environment: string }[];
}

/** Where the panel is: a view, and what it is about. */
interface Place {
  view: string;
  about: Record<string, unknown>;
}

/** What is said in passing. */
interface Notice {
  text: string;
  isError: boolean;
}

/** Something that is deleted in a while. */
interface Pending {
  key: string;
  name: string;
  undo(): void;
}

/** What every view of the panel is given. */
interface Panel {
  /** ComfyUI's page. */
  comfy: typeof import("./comfyui/comfyui.js");
  routes: import("./routes.js").Routes;
  /** Live events. */
  feed: import("./feed.js").Feed;
  /** The id of the connection that is used, once that was told. */
  connection?: string | null;
  /** What was told last of it. */
  heard?: LiveEvents["connection"];
  /** Deleting with undo. */
  deletions: import("./kit/undo.js").Deletions;
  /** What views remember while other views are shown, such as what was searched for. What has `end` is ended before. */
  kept: Map<string, unknown>;
  /** Show another view; `back` comes back to this one. */
  go(view: string, about?: Record<string, unknown>): void;
  back(): void;
  /** Tell something in passing; it is read out as well. */
  say(text: string): void;
  /** Tell that something did not work. */
  fail(error: unknown): void;
}

/** What is told to every page as it happens. */
interface LiveEvents {
  run: RunRow;
  preview: { run_id: string; number: number };
  machine: { id: string; [field: string]: unknown };
  /** Something of this kind is new, different or gone: whoever shows it reads it again. */
  changed: {
    kind: "workflow" | "version" | "deployment" | "run" | "machine" | "asset" | "file" | "connection";
    id?: string | null;
  };
  connection: {
    state: "none" | "well" | "away";
    id?: string | null;
    name?: string;
    message?: string;
  };
}

/** A run, as lists show it. */
interface RunRow {
  id: string;
  status: string;
  /** Share of the work done, from 0 to 1. */
  progress: number;
  /** What it is doing, as a person reads it. */
  doing?: string | null;
  queue_position?: number | null;
  deployment_id?: string | null;
  workflow_id?: string | null;
  name: string;
  environment?: string | null;
  machine?: string | null;
  created_at: string;
  started_at?: string | null;
  ended_at?: string | null;
  error?: string | null;
  /** Whether it was started by this panel. */
  is_ours?: boolean;
  /** The number of its newest preview. */
  preview?: number | null;
}

/** A value that a run was given; files by what they are called. */
interface RunInput {
  input_id: string;
  value?: unknown;
  files?: { name: string; kind: string }[];
}

/** Something that a run has put out: a file, or a text. */
interface RunOutput {
  number: number;
  kind: string;
  name: string;
  output_id: string | null;
  node_id: string | null;
  text: string | null;
}

/** A run with what went into it and what came out. */
interface RunDetail extends RunRow {
  error_node: { id: string; class: string | null } | null;
  error_type: string | null;
  inputs: RunInput[];
  outputs: RunOutput[];
  gpu: string | null;
}

declare namespace ComfyUI {
  // What this package keeps on the page's own nodes and widgets.
  interface Node {
    outpostDeployment?: import("./views/deployment_node.js").DeploymentNode;
    outpostSaid?: News;
    /** By how much its note has made it higher. */
    outpostGrown?: number;
  }
  interface Widget {
    outpostKind?: string;
    /** Of a note, for a width of it. */
    outpostHeight?: { width: number; height: number } | null;
  }
}

type Routes = import("./routes.js").Routes;
type RouteError = import("./routes.js").RouteError;

/** A graph as it is executed. */
type Graph = Record<string, ComfyUI.PromptNode>;

/** An entry of a menu, or a button. */
interface Item {
  label: string;
  icon?: string;
  do(event?: Event): void;
  isOff?: boolean;
  isMain?: boolean;
  isDangerous?: boolean;
}

/** Something that is read. `value` is what was read last, also while it is being read again. */
interface Loaded<Value> {
  value: Value | null;
  error: Error | null;
  isLoading: boolean;
  again(): void;
}

/** A list that comes page by page. */
interface Pages<Row> {
  rows: Row[];
  error: Error | null;
  isLoading: boolean;
  hasMore: boolean;
  next(): void;
  /** Is told what is in sight, and reads what is wanted there. */
  seen(rows: Row[], isAtEnd: boolean): void;
  /** Reads anew what is in sight, and the rest when that is seen. */
  again(): void;
  /** For what has been changed here already. */
  change(change: (rows: Row[]) => Row[]): void;
}

/** When a deployment ran which version, on which machine. */
interface FormerRow {
  workflow_version_id: string;
  version: number;
  machine_id: string | null;
  at: string;
  by: string | null;
}

/** What routes answer when they are asked for something: the first path that fits tells. */
type Answers = [
  ["/connections", Connections],
  ["/machines", MachineOffers],
  [`/machines/${string}/logs`, { logs: MachineLog[] }],
  [`/machines/${string}`, MachineDetail],
  ["/workflows", { workflows: WorkflowRow[]; more: boolean; can_sort: boolean }],
  [`/workflows/${string}/versions`, { versions: VersionRow[]; more: boolean }],
  [`/workflows/${string}/versions/${string}`, { id: string; version: number; workflow?: Untold; workflow_api?: Graph }],
  [`/workflows/${string}`, WorkflowRow],
  ["/deployments", { deployments: DeploymentRow[] }],
  [`/deployments/${string}/history`, { history: FormerRow[] }],
  [`/deployments/${string}`, Shape & { deployment: DeploymentRow }],
  [`/runs/${string}/${string}`, Untold],
  [`/runs/${string}`, RunDetail],
];
type Answer<Path, Table = Answers> = Table extends [[infer Known, infer Told], ...infer Rest]
  ? Path extends Known
    ? Told
    : Answer<Path, Rest>
  : Untold;
// biome-ignore lint/suspicious/noExplicitAny: graphs hold anything, and few ask for the rest
type Untold = any;

type Deploying = import("./model/deploying.js").Deploying;

/** A graph as the editor keeps it, and as it is executed. */
type Drawn = ComfyUI.Opened["graph"];

/** A version that is kept. */
interface Version {
  workflow_id: string;
  version: number;
  workflow_version_id: string;
}

/** The workflow that a graph came from, with the versions that it may be equal to. */
interface Origin {
  id: string;
  name: string;
  newest: number;
  versions: { id: string; version: number; sign: string }[];
}

/** Where a graph can be deployed; `here` is what the origin was found by. */
interface DeployPlace {
  machines: MachineRow[];
  deployments: DeploymentRow[];
  origin: Origin | null;
  here: ComfyUI.Remembered;
}

/** A graph that can be deployed: the open one, or that of a version that is kept already. */
interface Source extends ComfyUI.Opened {
  sign: string;
  form: GraphForm;
  /** What could become inputs. */
  widgets: Exposable[];
}

/** What is deployed, and where. */
interface Plan {
  origin: Origin | null;
  name: string;
  comment: string;
  machine: MachineRow;
  environment: string;
  /** The version that is kept already. */
  stored: ComfyUI.Remembered | null;
  source: Source;
}

/** How it stands with a step of deploying. */
interface Step {
  name: string;
  state: "working" | "done" | "failed";
  text: string;
}

/** A version that a deployment could run. */
interface VersionChoice {
  id: string;
  version: number;
  machine_id?: string | null;
  hint: string;
}
