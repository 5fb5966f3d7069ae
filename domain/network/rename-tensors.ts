import { CodedError } from "../errors.js";
import type { Tensor } from "./network.js";

/** `strip` is taken off the front of every tensor's name, then `add` put there: `module.` of PyTorch, `resnetv20_` of Gluon. */
export interface PrefixChange {
  readonly strip?: string | undefined;
  readonly add?: string | undefined;
}

/**
 * The tensors under their names with another prefix. A name that does not begin with `strip` keeps its front, so that files with a few tensors of
 * other parts can be read; but one at least must begin with it.
 * @throws CodedError USAGE_INVALID where no name begins with it; WEIGHTS_INVALID where two tensors get one name.
 */
export function renameTensors(tensors: ReadonlyMap<string, Tensor>, { strip = "", add = "" }: PrefixChange): ReadonlyMap<string, Tensor> {
  if (strip === "" && add === "") return tensors;
  const names = [...tensors.keys()];
  if (names.length > 0 && !names.some((name) => name.startsWith(strip))) {
    throw new CodedError(
      "USAGE_INVALID",
      `prefix to strip ${JSON.stringify(strip)}: no tensor's name begins with it; the first names are ${names.slice(0, 3).join(", ")}; give the text that they really begin with, or strip nothing`,
      { strip },
    );
  }
  const renamed = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) {
    const newName = `${add}${name.startsWith(strip) ? name.slice(strip.length) : name}`;
    if (renamed.has(newName)) {
      throw new CodedError(
        "WEIGHTS_INVALID",
        `without the prefix ${JSON.stringify(strip)} two tensors are named "${newName}"; give one of them`,
        {
          tensor: newName,
        },
      );
    }
    renamed.set(newName, tensor);
  }
  return renamed;
}
