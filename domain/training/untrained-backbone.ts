import { CodedError } from "../errors.js";
import { type Backbone, checkBackboneName } from "../network/backbone.js";
import { buildTopology, parseTopologyName, topologyName } from "../network/catalog/catalog.js";
import { type Preprocessing, settledPreprocessing } from "../network/preprocessing.js";
import { initializeParameters, initializeStatistics } from "./initialize.js";
import { parameterLayout, statisticsLayout, tensorsOf } from "./parameters.js";

/** Of the weights; one seed, so that a topology has one untrained backbone. */
const SEED = 42;

/**
 * A topology of the catalogue without its classifier and without pretrained weights, to be trained from the input: kernels glorot uniform, gammas and moving variances 1, everything else 0.
 * @param topology As `mobilenet_v2_0.35_224`.
 * @param name By default `TOPOLOGY_untrained`.
 * @throws CodedError USAGE_INVALID for the name, BACKBONE_UNKNOWN, NETWORK_INVALID, SPEC_INVALID for the preprocessing
 */
export function untrainedBackbone(topology: string, name: string | undefined, changes: Partial<Preprocessing> = {}): Backbone {
  const parsed = parseTopologyName(topology);
  if (parsed === undefined)
    throw new CodedError("BACKBONE_UNKNOWN", `"${topology}" is no topology of the catalogue, such as mobilenet_v2_1.0_224`);
  const options = { ...parsed.options, size: changes.size ?? parsed.options.size };
  const named = name ?? `${topologyName(parsed.topology, options)}_untrained`;
  checkBackboneName(named);

  const { network, preprocessing } = buildTopology(parsed.topology, options);
  const trained = parameterLayout(network);
  const parameters = new Float32Array(trained.length);
  initializeParameters(parameters, trained, { kind: "glorotUniform" }, SEED);
  const moving = statisticsLayout(network);
  const statistics = new Float32Array(moving.length);
  initializeStatistics(statistics, moving);
  return {
    name: named,
    network,
    weights: new Map([...tensorsOf(trained, parameters), ...tensorsOf(moving, statistics)]),
    preprocessing: settledPreprocessing(preprocessing, changes),
    origin: `untrained: random weights (glorot uniform, seed ${SEED}) for ${topologyName(parsed.topology, options)}`,
    licence: "none needed",
    untrained: true,
  };
}
