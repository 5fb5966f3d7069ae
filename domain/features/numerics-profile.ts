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
