//! Roles of knobs: the same word in every framework.

use crate::rows::words::words;

words! {
    /// The role of a knob. Knobs of two frameworks with the same role are counterparts.
    pub enum KnobRole, "role of a knob" {
        /// Tensor parallelism.
        TensorParallel = "tensor_parallel",
        /// Pipeline parallelism.
        PipelineParallel = "pipeline_parallel",
        /// Data parallelism.
        DataParallel = "data_parallel",
        /// Expert parallelism.
        ExpertParallel = "expert_parallel",
        /// GPUs inside a tensor-parallel group that split the KV cache.
        ContextParallel = "context_parallel",
        /// Number of nodes.
        Nodes = "nodes",
        /// Share of the GPU memory to use.
        MemoryFraction = "memory_fraction",
        /// Maximum number of tokens of a sequence.
        SequenceLimit = "sequence_limit",
        /// Maximum number of concurrent requests.
        ConcurrentRequests = "concurrent_requests",
        /// Maximum number of tokens per step.
        BatchTokens = "batch_tokens",
        /// Maximum number of prompt tokens of one request per step.
        PrefillChunk = "prefill_chunk",
        /// Splits prompts across several steps.
        ChunkedPrefill = "chunked_prefill",
        /// Keeps the KV cache of shared prefixes.
        PrefixCaching = "prefix_caching",
        /// Tokens per block of the KV cache.
        BlockSize = "block_size",
        /// Data type of weights and activations.
        Dtype = "dtype",
        /// Quantization of the weights.
        Quantization = "quantization",
        /// Data type of the KV cache.
        KvCacheDtype = "kv_cache_dtype",
        /// Size of the KV cache in tokens.
        KvCacheTokens = "kv_cache_tokens",
        /// KV cache outside the GPU memory.
        KvOffload = "kv_offload",
        /// Attention kernels.
        AttentionBackend = "attention_backend",
        /// Attention kernels of the prefill.
        PrefillAttentionBackend = "prefill_attention_backend",
        /// Attention kernels of the decode.
        DecodeAttentionBackend = "decode_attention_backend",
        /// Kernels of the experts.
        MoeBackend = "moe_backend",
        /// Kernels of the sampling.
        SamplingBackend = "sampling_backend",
        /// A custom all-reduce.
        CustomAllReduce = "custom_all_reduce",
        /// All-to-all communication of the experts.
        AllToAll = "all_to_all",
        /// Overlap of two batches.
        DualBatchOverlap = "dual_batch_overlap",
        /// Runs without graphs.
        Eager = "eager",
        /// Batch sizes for which graphs are captured.
        GraphSizes = "graph_sizes",
        /// Largest batch size for which a graph is captured.
        GraphMaxBatch = "graph_max_batch",
        /// Speculative decoding.
        Speculative = "speculative",
        /// The order of waiting requests.
        SchedulePolicy = "schedule_policy",
        /// Overlap of scheduling and computation.
        ScheduleOverlap = "schedule_overlap",
        /// Maximum number of waiting requests.
        QueueLimit = "queue_limit",
        /// Number of tokens per chunk of a stream.
        StreamInterval = "stream_interval",
        /// Runs code of the model's repository.
        TrustRemoteCode = "trust_remote_code",
        /// The model's name at the endpoint.
        ServedName = "served_name",
        /// The tokenizer.
        Tokenizer = "tokenizer",
        /// Revision of the model.
        Revision = "revision",
        /// How weights are loaded.
        LoadFormat = "load_format",
        /// Seed of the sampling.
        Seed = "seed",
        /// Parser of reasoning.
        ReasoningParser = "reasoning_parser",
        /// Parser of tool calls.
        ToolParser = "tool_parser",
        /// Level of the log.
        LogLevel = "log_level",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_all_roles() {
        let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/frameworks/README.md"));
        let (_, list) = readme.split_once("The words of `as`:").unwrap();
        let list = list.split("\n\n").next().unwrap();
        let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        let all: Vec<&str> = KnobRole::ALL.iter().map(|role| role.as_str()).collect();
        assert_eq!(listed, all);
    }
}
