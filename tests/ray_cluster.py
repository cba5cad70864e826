"""A Ray cluster for tests, in a process of its own: it says its address, and ends when nobody listens any more.

python ray_cluster.py FOLDER
"""

import sys

import ray

if __name__ == "__main__":
    context = ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        object_store_memory=100 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=sys.argv[1],
    )
    print(context.address_info["gcs_address"], flush=True)
    sys.stdin.read()
    ray.shutdown()
