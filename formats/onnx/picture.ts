import type { GraphNode, Picture } from "./graph-node.js";

/** The picture after one step of its preparation: a number or one for each channel added, subtracted, multiplied or divided by, or the channels turned round. */
export function changedPicture(node: GraphNode, picture: Picture, index: number): Picture {
  const { layout, scale, offset } = picture;
  if (node.operator === "Gather") {
    const axis = node.integer("axis", 0);
    const order = node.integersAt(1, "indices")?.join();
    if ((axis < 0 ? axis + 4 : axis) !== layout.indexOf("c") || (order !== "2,1,0" && order !== "0,1,2"))
      node.refuse("only the order of the channels can be changed, to 2, 1, 0");
    if (order === "0,1,2") return picture;
    return { ...picture, reversed: !picture.reversed, scale: [...scale].reverse(), offset: [...offset].reverse() };
  }

  const { shape, data } = node.floats(1 - index);
  // Shapes are matched from their ends, as in NumPy.
  const channelAxis = shape.length - 4 + layout.indexOf("c");
  if (data.length !== 1 && (data.length !== 3 || shape[channelAxis] !== 3))
    node.refuse(`a number or one for each channel is needed, found [${shape.join(", ")}]`);
  const at = (channel: number): number => data[data.length === 1 ? 0 : channel]!;
  const turned = index === 1;
  switch (node.operator) {
    case "Add":
      return { ...picture, offset: offset.map((value, i) => value + at(i)) };
    case "Sub":
      if (turned) node.refuse("pictures subtracted from a constant are not supported");
      return { ...picture, offset: offset.map((value, i) => value - at(i)) };
    case "Mul":
    case "Div": {
      if (turned && node.operator === "Div") node.refuse("a constant divided by pictures is not supported");
      const factor = (i: number): number => (node.operator === "Mul" ? at(i) : 1 / at(i));
      if (![0, 1, 2].every((i) => factor(i) > 0 && Number.isFinite(factor(i)))) node.refuse("factors greater than 0 are needed");
      return { ...picture, scale: scale.map((value, i) => value * factor(i)), offset: offset.map((value, i) => value * factor(i)) };
    }
    default:
      return node.refuse("this is not supported where pictures are prepared");
  }
}
