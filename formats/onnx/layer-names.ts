import type { GraphNode } from "./graph-node.js";

/** The layer that a weight belongs to, by its name in the file; else the node's name. */
export function weightName(node: GraphNode, input: number): string {
  const match = /^(.+?)[./_](?:weight|kernel|depthwise_kernel|gamma|scale|W|w)(?::\d+)?$/.exec(node.inputName(input));
  return match?.[1] ?? nodeName(node);
}

/** What a layer without weights is called. */
export function nodeName(node: GraphNode): string {
  return (node.name || node.output).replace(/^node_/, "");
}
