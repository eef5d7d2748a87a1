// What this package uses of ComfyUI's page. What is optional is missing on some pages, old or new.

declare module "*/scripts/app.js" {
  export const app: ComfyUI.App;
}

declare module "*/scripts/api.js" {
  export const api: ComfyUI.Api;
}

declare var LiteGraph: ComfyUI.LiteGraph;

declare namespace ComfyUI {
  interface App {
    graph: Graph;
    /** The outermost graph, while `graph` may be one inside it. */
    rootGraph?: Graph;
    canvas: Canvas;
    widgets: Record<string, MakeWidget>;
    extensionManager?: ExtensionManager;
    ui: { settings: { addSetting(setting: object): void; getSettingValue?(id: string): unknown } };
    registerExtension(extension: Extension): void;
    collectNodeMenuItems?(node: Node): MenuOption[];
    /** The open graph, as the editor keeps it and as it is executed. */
    graphToPrompt(): Promise<{ workflow: SavedGraph; output: Record<string, PromptNode> }>;
    loadGraphData(workflow: object, isClean?: boolean, restoresView?: boolean, name?: string | null): Promise<void>;
    loadApiJson?(workflowApi: object, name: string): Promise<void> | void;
  }

  interface Api {
    fetchApi(path: string, options?: RequestInit): Promise<Response>;
    apiURL(path: string): string;
    addEventListener(name: string, listener: (event: CustomEvent) => void): void;
    removeEventListener(name: string, listener: (event: CustomEvent) => void): void;
  }

  interface SavedGraph {
    nodes: SavedNode[];
    extra?: Extra;
  }

  /** What is kept with a graph besides its nodes. */
  interface Extra {
    outpost?: Memory;
  }

  /** Where a graph came from: a version of a workflow. No address, and no key. */
  interface Remembered {
    workflow_id?: string;
    version?: number;
  }

  /** What is kept of it: the newest, and those that it is on other connections. */
  interface Memory extends Remembered {
    connection?: string;
    others?: (Remembered & { connection?: string })[];
  }

  /** A graph as it was when it was the open one. `mark` is another one for another graph; only it can be compared. */
  interface Opened {
    graph: { workflow: SavedGraph; output: Record<string, PromptNode> };
    here: Remembered;
    mark: unknown;
  }

  interface PromptNode {
    class_type: string;
    inputs: Record<string, unknown>;
    _meta?: { title?: string };
  }

  interface ExtensionManager {
    registerSidebarTab?(tab: SidebarTab): void;
    getSidebarTabs?(): SidebarTab[];
    sidebarTab?: {
      activeSidebarTabId?: string | null;
      toggleSidebarTab?(id: string): void;
    };
    setting?: { get?(id: string): unknown };
    workflow?: {
      activeWorkflow?: OpenWorkflow | null;
      /** There are none on pages that have one graph only. */
      openWorkflows?: OpenWorkflow[];
      getWorkflowByPath?(path: string): OpenWorkflow | null;
    };
    toast?: {
      add(toast: {
        severity: "success" | "info" | "warn" | "error";
        summary: string;
        detail: string;
        life: number;
      }): void;
    };
  }

  interface Extension {
    name: string;
    settings?: object[];
    commands?: { id: string; label: string; icon: string; function(): void }[];
    keybindings?: { commandId: string; combo: { key: string; ctrl?: boolean; alt?: boolean; shift?: boolean } }[];
    menuCommands?: { path: string[]; commands: string[] }[];
    getNodeMenuItems?(node: Node): MenuOption[];
    setup?(): void;
    afterConfigureGraph?(): void;
    afterLoadGraph?(): void;
    beforeRegisterNodeDef?(nodeType: NodeType, nodeData: NodeData): void;
  }

  interface SidebarTab {
    id: string;
    title: string;
    tooltip: string;
    icon: string;
    iconBadge?(): string | null;
    type: "custom";
    render(place: HTMLElement): void;
  }

  interface OpenWorkflow {
    filename?: string;
    isModified?: boolean;
    isTemporary?: boolean;
    changeTracker?: { captureCanvasState?(): void; checkState?(): void };
  }

  interface LiteGraph {
    ContextMenu: MenuClass;
    createNode(type: string): Node | null;
    LGraphNode?: { prototype: Node };
  }

  interface Graph {
    extra?: Extra;
    nodes?: Node[];
    /** On older pages. */
    _nodes?: Node[];
    add(node: Node): void;
    getNodeById(id: string | number): Node | null | undefined;
    setDirtyCanvas?(foreground: boolean, background: boolean): void;
    beforeChange?(node?: Node): void;
    afterChange?(node?: Node): void;
  }

  interface Canvas {
    ds: { scale: number; offset: [x: number, y: number] };
    canvas: HTMLCanvasElement;
    graph?: Graph;
    graph_mouse: [x: number, y: number];
    selected_nodes?: Record<string | number, Node>;
    emitBeforeChange?(): void;
    emitAfterChange?(): void;
    selectNode?(node: Node): void;
    centerOnNode?(node: Node): void;
    setGraph?(graph: Graph): void;
    setDirty?(foreground: boolean, background: boolean): void;
  }

  interface NodeType {
    prototype: Node;
  }

  interface Node extends NodeHooks {
    /** The name of its class, also of one that this ComfyUI has not. */
    type?: string;
    /** The class that this ComfyUI has. */
    comfyClass?: string;
    properties: Record<string, unknown>;
    inputs: Slot[];
    outputs: Slot[];
    /** There are none on a node that never had one. */
    widgets: Widget[];
    pos: [x: number, y: number];
    size: [width: number, height: number];
    graph?: Graph | null;
    /** The graph inside it, where it is a subgraph. */
    subgraph?: Graph;
    addInput(name: string, type: string, options?: Partial<Slot>): void;
    addOutput(name: string, type: string): void;
    removeInput(slot: number): void;
    removeOutput(slot: number): void;
    id: string | number;
    title?: string;
    /** 0: it is executed. */
    mode?: number;
    constructor: { nodeData?: { input?: Partial<Record<"required" | "optional", Inputs>> } };
    connect(output: number, target: Node, input: number): unknown;
    getInputLink?(slot: number): { origin_id: string | number; origin_slot: number } | null | undefined;
    convertWidgetToInput?(widget: Widget): boolean;
    isInputConnected(slot: number): boolean;
    isOutputConnected(slot: number): boolean;
    addWidget(type: string, name: string, value: unknown, callback: () => void, options: WidgetOptions): Widget;
    addDOMWidget(name: string, type: string, element: HTMLElement, options: object): Widget;
    removeWidget?(widget: Widget): void;
    computeSize(): [width: number, height: number];
    setSize(size: [width: number, height: number]): void;
  }

  /** What the page calls of a node, and what an extension may do something before and after of. */
  interface NodeHooks {
    onNodeCreated?(): void;
    configure?(saved: SavedNode): void;
    onSerialize?(saved: SavedNode): void;
    onConnectionsChange?(): void;
    onExecuted?(output: { outpost_run?: RunReport[] } | null): void;
    getExtraMenuOptions?(canvas: Canvas, options: MenuOption[]): void;
  }

  interface Slot {
    name: string;
    type: string;
    label?: string;
    tooltip?: string;
    widget?: { name: string };
    shape?: number;
    color_on?: string;
    color_off?: string;
  }

  interface Widget<Value = unknown> {
    name: string;
    value: Value;
    label?: string;
    tooltip?: string;
    options: WidgetOptions;
    /** Whether its value is saved with the graph; it is unless this is false. */
    serialize?: boolean;
    width?: number;
    linkedWidgets?: Widget[];
    /** Of widgets that are elements. */
    element?: HTMLElement;
    callback?(value: Value): void;
    computeSize?(width: number): [width: number, height: number];
    onPointerDown?(pointer: Pointer, node: Node, canvas: Canvas): boolean;
    onRemove?(): void;
  }

  /** A list to choose one of. */
  interface Combo extends Widget<string> {
    options: WidgetOptions & { values: string[] };
  }

  interface WidgetOptions {
    values?: string[];
    min?: number;
    max?: number;
    serialize?: boolean;
    getOptionLabel?(value: string | null): string;
  }

  interface Pointer {
    onClick?(event: CanvasEvent): void;
  }

  /** Some pages wrap the browser's own event. */
  type CanvasEvent = Event & { e?: Event };

  interface SavedNode {
    size?: [width: number, height: number];
    properties?: Record<string, unknown>;
    widgets_values?: unknown;
    widgets_values_named?: Record<string, unknown>;
  }

  /** A node as ComfyUI describes it. */
  interface NodeData {
    name: string;
    input: Record<"required", Inputs> & Partial<Record<"optional" | "hidden", Inputs>>;
    output?: string[];
  }

  type Inputs = Record<string, Input>;

  /** An input as ComfyUI describes it: its type, or its choices, and what else there is to it. */
  type Input = [type: string | string[], options?: InputOptions];

  interface InputOptions {
    default?: unknown;
    min?: number;
    max?: number;
    step?: number;
    round?: boolean;
    display?: string;
    multiline?: boolean;
    dynamicPrompts?: boolean;
    control_after_generate?: boolean;
    hidden?: boolean;
    socketless?: boolean;
  }

  type MakeWidget = (node: Node, name: string, input: Input, app: App) => { widget: Widget };

  interface MenuOption {
    content: string;
    callback?(): void;
    has_submenu?: boolean;
    submenu?: { options: MenuOption[] };
  }

  interface MenuClass {
    new (entries: string[], options: MenuOptions): { root: HTMLElement; close(): void };
    prototype: { addItem?: AddMenuItem };
  }

  interface MenuOptions {
    event: Event;
    scale: number;
    className: string;
    callback(entry: string): void;
  }

  type AddMenuItem = (this: object, name: unknown, value: unknown, options: object) => unknown;
}
