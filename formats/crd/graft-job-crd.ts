import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { JobSpecSchema, JobStatusSchema } from "../../proto/gen/graft/v1/job_pb.js";
import { type FieldRule, messageRules, mutableSpecFields, type MessageRule } from "./rules.js";

type Schema = Readonly<Record<string, unknown>>;

/** Bounds of what the contract leaves open: the API server wants to know what a rule in CEL costs at most. */
const TEXT_MAX = 4_096;
const LIST_MAX = 64;
const MAP_MAX = 64;

/**
 * The CustomResourceDefinition of GraftJob: its schema is that of proto/graft/v1/job.proto in JSON, with the rules of rules.ts. `comments` are the descriptions, by `Message` and
 * `Message.jsonName`; `kubectl explain` shows them.
 */
export function graftJobCrd(comments: ReadonlyMap<string, string>): Schema {
  const spec = messageSchema(JobSpecSchema, comments);
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "graftjobs.graft.dev" },
    spec: {
      group: "graft.dev",
      scope: "Namespaced",
      names: {
        kind: "GraftJob",
        listKind: "GraftJobList",
        plural: "graftjobs",
        singular: "graftjob",
        shortNames: ["gj"],
        categories: ["all"],
      },
      versions: [
        {
          name: "v1alpha1",
          served: true,
          storage: true,
          subresources: {
            status: {},
            scale: { specReplicasPath: ".spec.trainers.max", statusReplicasPath: ".status.progress.trainers" },
          },
          additionalPrinterColumns: [
            { name: "State", type: "string", jsonPath: ".status.phase" },
            { name: "Progress", type: "string", jsonPath: ".status.progress.summary" },
            { name: "ETA", type: "string", jsonPath: ".status.progress.eta" },
            { name: "Cached", type: "integer", jsonPath: ".status.progress.cached" },
            { name: "Accuracy", type: "number", jsonPath: ".status.result.testAccuracy" },
            { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
          ],
          schema: {
            openAPIV3Schema: {
              type: "object",
              description: comments.get("GraftJob"),
              required: ["spec"],
              properties: {
                apiVersion: { type: "string" },
                kind: { type: "string" },
                metadata: { type: "object" },
                spec: {
                  description: comments.get("JobSpec"),
                  ...spec,
                  "x-kubernetes-validations": [...(spec["x-kubernetes-validations"] as MessageRule[]), ...immutable()],
                },
                status: { description: comments.get("JobStatus"), ...messageSchema(JobStatusSchema, comments) },
              },
            },
          },
        },
      ],
    },
  };
}

function messageSchema(message: DescMessage, comments: ReadonlyMap<string, string>): Schema {
  if (message.typeName === "google.protobuf.Timestamp") return { type: "string", format: "date-time" };
  // Kubernetes' own: the API server checks it where the pods are made.
  if (message.typeName === "google.protobuf.Struct") return { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const { required, fields = {}, together = [], oneofNeeded } = messageRules[message.name] ?? {};
  const properties = Object.fromEntries(
    message.fields.map((field): [string, Schema] => {
      const description = comments.get(`${message.name}.${field.jsonName}`);
      const { each, ...rule } = fields[field.jsonName] ?? {};
      return [field.jsonName, { ...(description !== undefined && { description }), ...fieldSchema(field, comments, each), ...rule }];
    }),
  );
  const validations = [...exclusions(message, oneofNeeded === true), ...together];
  return {
    type: "object",
    ...(required !== undefined && { required }),
    ...(message.fields.length > 0 && { properties }),
    ...(validations.length > 0 && { "x-kubernetes-validations": validations }),
  };
}

function fieldSchema(field: DescField, comments: ReadonlyMap<string, string>, each?: FieldRule): Schema {
  switch (field.fieldKind) {
    case "scalar":
      return scalarSchema(field.scalar);
    case "enum":
      return enumSchema(field.enum);
    case "message":
      return messageSchema(field.message, comments);
    case "list":
      // Conditions are merged by their type, as everywhere in Kubernetes; no other list has keys.
      return field.message?.name === "Condition"
        ? {
            type: "array",
            maxItems: LIST_MAX,
            items: { ...messageSchema(field.message, comments), required: ["type", "status"] },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
          }
        : { type: "array", maxItems: LIST_MAX, items: { ...elementSchema(field, comments), ...each }, "x-kubernetes-list-type": "atomic" };
    case "map":
      return { type: "object", maxProperties: MAP_MAX, additionalProperties: { ...elementSchema(field, comments), ...each } };
  }
}

function elementSchema(field: DescField & { fieldKind: "list" | "map" }, comments: ReadonlyMap<string, string>): Schema {
  if (field.message !== undefined) return messageSchema(field.message, comments);
  return field.enum === undefined ? scalarSchema(field.scalar) : enumSchema(field.enum);
}

function enumSchema(description: DescEnum): Schema {
  return { type: "string", enum: description.values.map(({ name }) => name) };
}

function scalarSchema(scalar: ScalarType): Schema {
  switch (scalar) {
    case ScalarType.STRING:
      return { type: "string", maxLength: TEXT_MAX };
    case ScalarType.DOUBLE:
      return { type: "number" };
    case ScalarType.INT32:
      return { type: "integer", format: "int32" };
    case ScalarType.BOOL:
      return { type: "boolean" };
    default:
      throw new Error(`no schema for ${ScalarType[scalar]}: the contract of jobs has none so far`);
  }
}

/** Of the fields of a oneof at most one, or exactly one. */
function exclusions({ oneofs }: DescMessage, isNeeded: boolean): MessageRule[] {
  return oneofs
    .filter(({ fields }) => fields.length > 1)
    .map(({ fields }) => {
      const names = fields.map(({ jsonName }) => jsonName);
      const given = `[${names.map((name) => `has(self.${name})`).join(", ")}].filter(given, given).size()`;
      return {
        rule: `${given} ${isNeeded ? "==" : "<="} 1`,
        message: `${isNeeded ? "exactly" : "at most"} one of ${names.join(", ")} must be given`,
      };
    });
}

function immutable(): MessageRule[] {
  return JobSpecSchema.fields
    .map(({ jsonName }) => jsonName)
    .filter((name) => !mutableSpecFields.has(name))
    .map((name) => ({
      rule: `has(self.${name}) == has(oldSelf.${name}) && (!has(self.${name}) || self.${name} == oldSelf.${name})`,
      message: `${name} cannot be changed, for it shapes the result; submit another job, which takes up the features of this one`,
    }));
}
