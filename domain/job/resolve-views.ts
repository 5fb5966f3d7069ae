import type { Augmentation } from "../features/views.js";
import { defaults } from "./defaults.js";
import { type FieldCheck, fraction, integer, percent, type Range } from "./field-check.js";
import type { ResolvedJob } from "./job.js";
import type { ViewsSpec } from "./spec.js";

/** More views of a picture than this are a slip of the finger: 1,000 epochs of different pictures. */
const VIEWS_MAX = 1_000;

const share: Range = { text: "> 0 and at most 1", holds: (value) => value > 0 && value <= 1 };
const aspect: Range = { text: "between 0.01 and 100", holds: (value) => value >= 0.01 && value <= 100 };
const degrees: Range = { text: "> 0 and at most 180", holds: (value) => value > 0 && value <= 180 };
/** At a quarter a view shows the picture with its repeated edges on 16 times its area, all of which is held in memory. */
const magnification: Range = { text: "between 0.25 and 4", holds: (value) => value >= 0.25 && value <= 4 };

/** The views with their defaults; problems go to `check` with paths under `views`. */
export function resolveViews(given: ViewsSpec, check: FieldCheck): ResolvedJob["views"] {
  const { randomResizedCrop, randomCrop, horizontalFlip = false, verticalFlip = false, rotation, shift, zoom, color } = given;
  const count = check.optional("views.count", given.count ?? defaults.views, integer(1, VIEWS_MAX));
  const kinds = { randomResizedCrop, randomCrop, rotation, shift, zoom, color };
  const isAugmented = horizontalFlip || verticalFlip || Object.values(kinds).some((kind) => kind !== undefined);
  if (count === 1 && isAugmented) check.report("views.count", "must be at least 2, found 1: view 0 is the plain picture");
  if (count !== undefined && count > 1 && !isAugmented) {
    const names = ["horizontalFlip", "verticalFlip", ...Object.keys(kinds)].join(", ");
    check.report("views", `${count} views need something that makes them differ: one of ${names}`);
  }
  check.atMostOne("views", { randomResizedCrop, randomCrop });
  const augmentation: Augmentation = {
    ...(randomResizedCrop && { randomResizedCrop: resolveResizedCrop(randomResizedCrop, check) }),
    ...(randomCrop && { randomCrop: resolveParts("randomCrop", randomCrop, ["marginPercent", "scalePercent"], percent, check) }),
    horizontalFlip,
    verticalFlip,
    ...(rotation && { rotation: { maxDegrees: check.required("views.rotation.maxDegrees", rotation.maxDegrees, degrees, 1) } }),
    ...(shift && { shift: resolveParts("shift", shift, ["maxWidth", "maxHeight"], fraction, check) }),
    ...(zoom && { zoom: resolveZoom(zoom, check) }),
    ...(color && { color: resolveParts("color", color, ["brightness", "contrast", "saturation"], fraction, check) }),
  };
  return { count: count ?? defaults.views, augmentation: isAugmented ? augmentation : undefined };
}

function resolveResizedCrop(
  given: NonNullable<ViewsSpec["randomResizedCrop"]>,
  check: FieldCheck,
): NonNullable<Augmentation["randomResizedCrop"]> {
  const path = "views.randomResizedCrop";
  const number = (name: keyof typeof given, range: Range): number =>
    check.number(`${path}.${name}`, given[name], defaults.randomResizedCrop[name], range);
  const [minScale, maxScale] = [number("minScale", share), number("maxScale", share)];
  const [minAspect, maxAspect] = [number("minAspect", aspect), number("maxAspect", aspect)];
  checkOrder(`${path}.maxScale`, minScale, maxScale, "minScale", check);
  checkOrder(`${path}.maxAspect`, minAspect, maxAspect, "minAspect", check);
  return { minScale, maxScale, minAspect, maxAspect };
}

function resolveZoom(given: NonNullable<ViewsSpec["zoom"]>, check: FieldCheck): NonNullable<Augmentation["zoom"]> {
  const path = "views.zoom";
  const min = check.number(`${path}.min`, given.min, 1, magnification);
  const max = check.number(`${path}.max`, given.max, 1, magnification);
  checkOrder(`${path}.max`, min, max, "min", check);
  if ((given.min ?? 1) === 1 && (given.max ?? 1) === 1)
    check.report(path, "changes nothing; give min, max or both, such as min: 0.8, max: 1.2");
  return { min, max };
}

/** Numbers that are 0 by default, of which one has to be more. */
function resolveParts<Name extends string>(
  kind: keyof ViewsSpec,
  given: Readonly<Partial<Record<Name, number>>>,
  names: readonly Name[],
  range: Range,
  check: FieldCheck,
): Record<Name, number> {
  const path = `views.${kind}`;
  if (names.every((name) => (given[name] ?? 0) === 0)) check.report(path, `changes nothing; give a ${names.join(", ")} above 0`);
  const values = names.map((name) => [name, check.number(`${path}.${name}`, given[name], 0, range)] as const);
  return Object.fromEntries(values) as Record<Name, number>;
}

function checkOrder(path: string, min: number, max: number, minName: string, check: FieldCheck): void {
  if (max < min) check.report(path, `must be at least ${minName} (${min}), found ${max}`);
}
