import { toBinary, type DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { ReflectionService } from "@grpc/reflection";
import type { GrpcService } from "./service.js";

/** The reflection service: clients such as grpcurl learn from it what can be called and how, without the protos. */
export function reflection(services: readonly GrpcService[]): ReflectionService {
  const files = new Map<string, DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file.name)) return;
    files.set(file.name, file);
    file.dependencies.forEach(collect);
  };
  services.forEach(({ descriptor }) => collect(descriptor.file));
  const fileDescriptorProtos = [...files.values()].map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
  // The package wants the output of proto-loader, of which it looks at the descriptors only.
  const all = { format: "Protocol Buffer 3 DescriptorProto", type: {}, fileDescriptorProtos };
  return new ReflectionService({ all } as unknown as ConstructorParameters<typeof ReflectionService>[0]);
}
