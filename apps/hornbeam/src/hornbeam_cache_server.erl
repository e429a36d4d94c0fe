%% SPDX-License-Identifier: Apache-2.0
%% @doc Writes the cache, keeps it within its bounds, and sees to it that a value is computed once.
%%
%% Runs in its own process. A value that is not there is a *flight*: one process computes, those
%% that ask for the same key wait for it. When it ends without a result, or its owner dies, the next
%% one computes. Eviction is by second chance: the oldest entry goes unless it was read since it was
%% last looked at.
%%
%%   hornbeam_cache        {Key, Value, Bytes, Until, Used :: boolean(), Number}
%%   hornbeam_cache_order  {Number, Key}, by age
-module(hornbeam_cache_server).
-behaviour(gen_server).

-export([start_link/0, configure/1, claim/4, store/3, abandon/1, clear/1, count/1, counts/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([token/0, limits/0]).

-define(TABLE, hornbeam_cache).
-define(ORDER, hornbeam_cache_order).
-define(HITS, 1).
-define(MISSES, 2).
-define(BYTES, 3).
%% Milliseconds in which the server itself answers.
-define(TIMEOUT, 5000).

%% The right to store the result of a computation; 0 when there is none.
-type token() :: non_neg_integer().

-type limits() :: #{
    cache_max_entries := pos_integer() | infinity,
    cache_max_bytes := pos_integer() | infinity,
    _ => _
}.

-record(waiting, {
    from :: gen_server:from(),
    owner :: pid(),
    identity :: term(),
    %% milliseconds; its timer while it waits
    timeout :: pos_integer(),
    timer = undefined :: reference() | undefined
}).

-record(flight, {
    key :: hornbeam_cache:key(),
    %% who computes: a claim of the same one does not wait for itself
    identity :: term(),
    owner :: reference(),
    waiting = [] :: [#waiting{}],
    %% the key was cleared meanwhile
    is_stale = false :: boolean()
}).

-record(state, {
    limits :: limits(),
    flights = #{} :: #{token() => #flight{}},
    keys = #{} :: #{hornbeam_cache:key() => token()}
}).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The bounds, from now on.
-spec configure(limits()) -> ok.
configure(Limits) ->
    gen_server:call(?MODULE, {configure, Limits}, ?TIMEOUT).

%% @doc Wait for the value of Key at most Timeout milliseconds, or be the one who computes it until
%% Owner ends. Identity: two claims of the same one are nested. After the timeout the caller
%% computes, too.
-spec claim(hornbeam_cache:key(), Owner :: pid(), Identity :: term(), pos_integer()) ->
    {hit, term()} | {compute, token()}.
claim(Key, Owner, Identity, Timeout) ->
    gen_server:call(?MODULE, {claim, Key, Owner, Identity, Timeout}, Timeout + ?TIMEOUT).

%% @doc The result of a computation. A token that is used up stores nothing.
-spec store(token(), term(), TtlMs :: pos_integer() | infinity) -> ok.
store(Token, Value, Ttl) ->
    gen_server:call(?MODULE, {store, Token, Value, Ttl}, ?TIMEOUT).

%% @doc The computation has failed: the next one who waits computes.
-spec abandon(token()) -> ok.
abandon(Token) ->
    gen_server:call(?MODULE, {abandon, Token}, ?TIMEOUT).

-spec clear(Prefix :: binary()) -> non_neg_integer().
clear(Prefix) ->
    gen_server:call(?MODULE, {clear, Prefix}, ?TIMEOUT).

-spec count(hit | miss) -> ok.
count(hit) -> counters:add(persistent_term:get(?MODULE), ?HITS, 1);
count(miss) -> counters:add(persistent_term:get(?MODULE), ?MISSES, 1).

-spec counts() -> {Hits, Misses, Bytes} when
    Hits :: non_neg_integer(), Misses :: non_neg_integer(), Bytes :: non_neg_integer().
counts() ->
    Counts = persistent_term:get(?MODULE),
    {counters:get(Counts, ?HITS), counters:get(Counts, ?MISSES), counters:get(Counts, ?BYTES)}.

-spec init([]) -> {ok, #state{}}.
init([]) ->
    Counts = counters:new(3, [write_concurrency]),
    ok = persistent_term:put(?MODULE, Counts),
    %% After a crash the tables still hold what was stored.
    Bytes = ets:foldl(fun({_, _, Size, _, _, _}, Sum) -> Sum + Size end, 0, ?TABLE),
    ok = counters:add(Counts, ?BYTES, Bytes),
    {ok, #state{limits = #{cache_max_entries => infinity, cache_max_bytes => infinity}}}.

-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, term(), #state{}} | {noreply, #state{}}.
handle_call({claim, Key, Owner, Identity, Timeout}, From, State) ->
    Waiting = #waiting{from = From, owner = Owner, identity = Identity, timeout = Timeout},
    claimed(hornbeam_cache:get(Key), Key, Waiting, State);
handle_call({store, Token, Value, Ttl}, _From, State) ->
    {reply, ok, stored(Token, Value, Ttl, State)};
handle_call({abandon, Token}, _From, State) ->
    {reply, ok, abandoned(Token, State)};
handle_call({clear, Prefix}, _From, State) ->
    {Count, Rest} = cleared(Prefix, State),
    {reply, Count, Rest};
handle_call({configure, Limits}, _From, State) ->
    ok = evict(Limits),
    {reply, ok, State#state{limits = Limits}};
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', Ref, process, _, _}, #state{flights = Flights} = State) ->
    case [Token || {Token, #flight{owner = R}} <- maps:to_list(Flights), R =:= Ref] of
        [Token] -> {noreply, abandoned(Token, State)};
        [] -> {noreply, State}
    end;
handle_info({late, Token, From}, #state{flights = Flights} = State) ->
    case Flights of
        #{Token := #flight{waiting = Waiting} = Flight} ->
            _ = lists:keymember(From, #waiting.from, Waiting) andalso
                gen_server:reply(From, {compute, 0}),
            Others = lists:keydelete(From, #waiting.from, Waiting),
            {noreply, State#state{flights = Flights#{Token := Flight#flight{waiting = Others}}}};
        _ ->
            {noreply, State}
    end;
handle_info(_, State) ->
    {noreply, State}.

%%% Flights

claimed({ok, Value}, _, _, State) ->
    {reply, {hit, Value}, State};
claimed(none, Key, Waiting, #state{keys = Keys, flights = Flights} = State) ->
    case Keys of
        #{Key := Token} ->
            #{Token := Flight} = Flights,
            join(Token, Flight, Waiting, State);
        _ ->
            {Token, Started} = start(Key, Waiting, [], State),
            {reply, {compute, Token}, Started}
    end.

join(_, #flight{identity = Identity}, #waiting{identity = Identity}, State) ->
    ok = count(miss),
    {reply, {compute, 0}, State};
join(Token, #flight{waiting = Others} = Flight, Waiting, #state{flights = Flights} = State) ->
    Joined = Flight#flight{waiting = Others ++ [timed(Token, Waiting)]},
    {noreply, State#state{flights = Flights#{Token := Joined}}}.

timed(Token, #waiting{from = From, timeout = Timeout} = Waiting) ->
    Waiting#waiting{timer = erlang:send_after(Timeout, self(), {late, Token, From})}.

start(Key, #waiting{owner = Owner, identity = Identity}, Others, State) ->
    ok = count(miss),
    %% Unique beyond a crash of this process: an old token must not store for another key.
    Token = erlang:unique_integer([positive]),
    Flight = #flight{
        key = Key,
        identity = Identity,
        owner = monitor(process, Owner),
        waiting = [timed(Token, stopped(Each)) || Each <- Others]
    },
    #state{flights = Flights, keys = Keys} = State,
    {Token, State#state{flights = Flights#{Token => Flight}, keys = Keys#{Key => Token}}}.

stopped(#waiting{timer = Timer} = Waiting) ->
    case erlang:cancel_timer(Timer) of
        false -> Waiting#waiting{timer = undefined, timeout = 1};
        Left -> Waiting#waiting{timer = undefined, timeout = max(1, Left)}
    end.

stored(Token, Value, Ttl, State) ->
    case landed(Token, State) of
        {#flight{key = Key, waiting = Waiting, is_stale = IsStale}, Rest} ->
            _ = IsStale orelse insert(Key, Value, Ttl),
            lists:foreach(fun(Each) -> answered(Each, Value) end, Waiting),
            ok = evict(State#state.limits),
            Rest;
        none ->
            State
    end.

answered(Waiting, Value) ->
    #waiting{from = From} = stopped(Waiting),
    ok = count(hit),
    gen_server:reply(From, {hit, Value}).

%% The next one who still lives computes.
abandoned(Token, State) ->
    case landed(Token, State) of
        {#flight{key = Key, waiting = Waiting}, Rest} -> hand_over(Key, Waiting, Rest);
        none -> State
    end.

hand_over(_, [], State) ->
    State;
hand_over(Key, [#waiting{from = {Pid, _} = From} = Next | Others], State) ->
    case is_process_alive(Pid) of
        true ->
            {Token, Started} = start(Key, stopped(Next), Others, State),
            gen_server:reply(From, {compute, Token}),
            Started;
        false ->
            hand_over(Key, Others, State)
    end.

landed(Token, #state{flights = Flights, keys = Keys} = State) ->
    case maps:take(Token, Flights) of
        {#flight{key = Key, owner = Ref} = Flight, Rest} ->
            true = demonitor(Ref, [flush]),
            Others =
                case Keys of
                    #{Key := Token} -> maps:remove(Key, Keys);
                    _ -> Keys
                end,
            {Flight, State#state{flights = Rest, keys = Others}};
        error ->
            none
    end.

%%% Entries

insert(Key, Value, Ttl) ->
    ok = remove(Key),
    Number = next_number(),
    Bytes = erlang:external_size(Value) + byte_size(Key),
    Until =
        case Ttl of
            infinity -> infinity;
            _ -> erlang:monotonic_time(millisecond) + Ttl
        end,
    true = ets:insert(?TABLE, {Key, Value, Bytes, Until, false, Number}),
    true = ets:insert(?ORDER, {Number, Key}),
    counters:add(persistent_term:get(?MODULE), ?BYTES, Bytes).

remove(Key) ->
    case ets:take(?TABLE, Key) of
        [{_, _, Bytes, _, _, Number}] ->
            true = ets:delete(?ORDER, Number),
            counters:sub(persistent_term:get(?MODULE), ?BYTES, Bytes);
        [] ->
            ok
    end.

%% The newest entry may go, too: one that is larger than the bound is not kept.
evict(#{cache_max_entries := MaxEntries, cache_max_bytes := MaxBytes} = Limits) ->
    {_, _, Bytes} = counts(),
    %% An atom is greater than every integer.
    case ets:info(?TABLE, size) > MaxEntries orelse Bytes > MaxBytes of
        true ->
            evict_one(ets:first(?ORDER)),
            evict(Limits);
        false ->
            ok
    end.

evict_one(Number) ->
    [{_, Key}] = ets:lookup(?ORDER, Number),
    case ets:lookup(?TABLE, Key) of
        [{_, _, _, _, true, _}] -> second_chance(Number, Key);
        _ -> remove(Key)
    end.

second_chance(Number, Key) ->
    Next = next_number(),
    true = ets:delete(?ORDER, Number),
    true = ets:insert(?ORDER, {Next, Key}),
    true = ets:update_element(?TABLE, Key, [{5, false}, {6, Next}]),
    ok.

next_number() ->
    case ets:last(?ORDER) of
        '$end_of_table' -> 1;
        Number -> Number + 1
    end.

cleared(Prefix, #state{flights = Flights, keys = Keys} = State) ->
    Size = byte_size(Prefix),
    Begins = fun(Key) -> byte_size(Key) >= Size andalso binary:part(Key, 0, Size) =:= Prefix end,
    Found = [Key || {_, Key} <- ets:tab2list(?ORDER), Begins(Key)],
    lists:foreach(fun remove/1, Found),
    Stale = maps:map(
        fun(_, #flight{key = Key, is_stale = Was} = Flight) ->
            Flight#flight{is_stale = Was orelse Begins(Key)}
        end,
        Flights
    ),
    Kept = maps:filter(fun(Key, _) -> not Begins(Key) end, Keys),
    {length(Found), State#state{flights = Stale, keys = Kept}}.
