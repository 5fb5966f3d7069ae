/** All that the bits of a result depend on besides its inputs. Part of a feature spec, pinned once for extraction and once for training by every job. */
export interface NumericsProfile {
  readonly engine: string;
  readonly engineVersion: string;
  /** cpu, or the model of the GPU. */
  readonly device: string;
  /** avx2, avx512, arm64, … */
  readonly instructionSet: string;
  /** Threads of one engine call; 0 where bits do not depend on them. */
  readonly threads: number;
  /** Rows of one engine call; 0 where bits do not depend on them. */
  readonly batch: number;
  /** Image decoder and version; empty where no picture is decoded. */
  readonly decoder: string;
}

const ANY = "ANY";

/**
 * Stands in a feature spec for every machine with this engine, where a job takes features of any profile. No machine has it, so these features lie in a folder of their own:
 * jobs that are pinned to one profile never see them, whoever computed them.
 */
export function anyProfile(engine: string): NumericsProfile {
  return { engine, engineVersion: ANY, device: ANY, instructionSet: ANY, threads: 0, batch: 0, decoder: ANY };
}

/** Whether a worker with this profile may compute what is `wanted`: a profile, or any with an engine. */
export function fitsProfile(profile: NumericsProfile, wanted: NumericsProfile): boolean {
  return isSame(profile, wanted) || isSame(anyProfile(profile.engine), wanted);
}

function isSame(a: NumericsProfile, b: NumericsProfile): boolean {
  return (Object.keys(anyProfile("")) as (keyof NumericsProfile)[]).every((field) => a[field] === b[field]);
}
