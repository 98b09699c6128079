"""The queries, in the words of Spark."""

import importlib


class Reader:
    """Opens the tables of a job."""

    def __init__(self, spark, tables, static, files):
        self.spark, self.tables, self.statics, self.files = spark, tables, static, files

    def stream(self, name, format, schema):
        """The files of a table as a stream, `files` of them in a batch; 0 takes all that are there."""
        read = self.spark.readStream.schema(schema)
        if self.files:
            read = read.option("maxFilesPerTrigger", self.files)
        return read.format(format).load(self.tables[name])

    def static(self, name, format, schema):
        return self.spark.read.schema(schema).format(format).load(self.statics[name])


def query(job, read):
    """The DataFrame of a job: a suite has a module of its name, with a function of the same name."""
    module = importlib.import_module("suite_" + job["suite"])
    return module.query(read, job["query"])
