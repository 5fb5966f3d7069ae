"""Prints, as JSON, what gRPC's reflection service tells about the server at sys.argv[1]: services with their methods, and the fields of a job."""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

with grpc.insecure_channel(sys.argv[1]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    services = {name: [method.name for method in pool.FindServiceByName(name).methods] for name in database.get_services()}
    fields = [field.name for field in pool.FindMessageTypeByName("graft.v1.GraftJob").fields]
    print(json.dumps({"services": services, "job": fields}))
