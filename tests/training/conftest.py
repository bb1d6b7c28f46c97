from tests.support.training_fixtures import dataset, make, one_thread, stage, tiny_base

__all__ = ["dataset", "make", "one_thread", "stage", "tiny_base"]
