%% SPDX-License-Identifier: Apache-2.0
%% @doc Connects this node to the others that the option `cluster' names, and again when a
%% connection has ended, for ever.
%%
%% Runs in: one process, which never waits: each attempt, and each question to DNS, is made by a
%% process of its own. Which node is tried when is `hornbeam_cluster_targets'. Names become atoms
%% only through `hornbeam_names', which bounds how many.
-module(hornbeam_cluster_join).
-behaviour(gen_server).

-export([start_link/0, configure/1, attempt/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

%% Milliseconds that an attempt, or a question, may take.
-define(DEADLINE, 15000).
-define(CONFIG, {?MODULE, config}).

-record(state, {
    config = hornbeam_cluster_options:none() :: hornbeam_cluster_options:cluster(),
    %% what DNS said last
    found = [] :: [binary()],
    targets = hornbeam_cluster_targets:new() :: hornbeam_cluster_targets:targets(),
    %% by monitors: attempts, and one question
    running = #{} :: #{reference() => {connect | resolve, binary()}},
    %% of the next attempts; of the next question
    timer = none :: none | reference(),
    question = none :: none | reference(),
    is_dns_well = true :: boolean()
}).

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Join these from now on; connections that are there stay.
-spec configure(hornbeam_cluster_options:cluster()) -> ok.
configure(Cluster) ->
    persistent_term:put(?CONFIG, Cluster),
    gen_server:cast(?MODULE, configured).

-spec init([]) -> {ok, #state{}}.
init([]) ->
    ok = net_kernel:monitor_nodes(true),
    {ok, configured(#state{})}.

-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, {error, unknown_call}, #state{}}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(configured, State) ->
    {noreply, configured(State)};
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({timeout, Timer, due}, #state{timer = Timer} = State) ->
    {noreply, attempts(State#state{timer = none})};
handle_info({timeout, Timer, resolve}, #state{question = Timer} = State) ->
    {noreply, resolve(State#state{question = none})};
handle_info({'DOWN', Ref, process, _, Reason}, #state{running = Running} = State) ->
    case maps:take(Ref, Running) of
        {What, Rest} -> {noreply, done(What, Reason, State#state{running = Rest})};
        error -> {noreply, State}
    end;
handle_info({nodeup, Node}, #state{targets = Targets} = State) ->
    Name = atom_to_binary(Node),
    {noreply, timed(State#state{targets = hornbeam_cluster_targets:connected(Name, Targets)})};
handle_info({nodedown, Node}, #state{targets = Targets} = State) ->
    Name = atom_to_binary(Node),
    Lost = hornbeam_cluster_targets:lost(Name, now_ms(), rand:uniform(), Targets),
    {noreply, timed(State#state{targets = Lost})};
handle_info(_, State) ->
    {noreply, State}.

configured(State0) ->
    Config = persistent_term:get(?CONFIG, hornbeam_cluster_options:none()),
    State = State0#state{config = Config, found = [], is_dns_well = true},
    resolve(attempts(targeted(unasked(State)))).

unasked(#state{question = none} = State) ->
    State;
unasked(#state{question = Timer} = State) ->
    _ = erlang:cancel_timer(Timer),
    State#state{question = none}.

targeted(#state{config = #{nodes := Nodes}, found = Found, targets = Targets} = State) ->
    Names = lists:usort(Nodes ++ Found) -- [atom_to_binary(node())],
    State#state{targets = hornbeam_cluster_targets:set(Names, now_ms(), Targets)}.

%%% Connections

attempts(#state{targets = Targets} = State) ->
    {Due, Rest} = hornbeam_cluster_targets:due(now_ms(), Targets),
    Attempt = fun(Name, Before) -> run({connect, Name}, fun() -> connect(Name) end, Before) end,
    timed(lists:foldl(Attempt, State#state{targets = Rest}, Due)).

connect(Name) ->
    case hornbeam_names:atom(node, Name) of
        {ok, Node} -> net_kernel:connect_node(Node);
        {error, Why} -> Why
    end.

run(What, Fun, #state{running = Running} = State) ->
    {Pid, Monitor} = spawn_monitor(?MODULE, attempt, [Fun]),
    {ok, _} = timer:kill_after(?DEADLINE, Pid),
    State#state{running = Running#{Monitor => What}}.

%% @doc Runs in a process of its own, whose exit reason is the result.
-spec attempt(fun(() -> term())) -> no_return().
attempt(Fun) ->
    exit({result, Fun()}).

done({connect, Name}, {result, true}, #state{targets = Targets} = State) ->
    timed(State#state{targets = hornbeam_cluster_targets:connected(Name, Targets)});
done({connect, Name}, Reason, #state{targets = Targets} = State) ->
    {Failures, Next} = hornbeam_cluster_targets:failed(Name, now_ms(), rand:uniform(), Targets),
    _ = Failures =:= 1 andalso
        ?LOG_WARNING(
            #{what => node_not_joined, node => Name, reason => reason(Reason)},
            #{domain => [hornbeam, cluster]}
        ),
    timed(State#state{targets = Next});
done({resolve, Name}, Result, #state{config = #{dns := Name, interval := Interval}} = State) ->
    Timer = erlang:start_timer(Interval, self(), resolve),
    resolved(Result, State#state{question = Timer});
%% Another name was asked for meanwhile.
done({resolve, _}, _, State) ->
    resolve(State).

reason({result, false}) -> no_connection;
reason({result, ignored}) -> this_node_has_no_name;
reason({result, Why}) -> Why;
reason(killed) -> timeout;
reason(Why) -> Why.

%% One timer, for whoever is due next.
timed(#state{timer = none, targets = Targets} = State) ->
    case hornbeam_cluster_targets:next(Targets) of
        never ->
            State;
        Due ->
            Timer = erlang:start_timer(max(0, Due - now_ms()), self(), due),
            State#state{timer = Timer}
    end;
timed(#state{timer = Timer} = State) ->
    _ = erlang:cancel_timer(Timer),
    timed(State#state{timer = none}).

now_ms() -> erlang:monotonic_time(millisecond).

%%% DNS

%% One question at a time; its end asks for the next.
resolve(#state{config = #{dns := undefined}} = State) ->
    State;
resolve(#state{running = Running, config = #{dns := Name, basename := Given}} = State) ->
    case [Asked || {resolve, Asked} <- maps:values(Running)] of
        [_] ->
            State;
        [] ->
            Basename = basename(Given),
            run({resolve, Name}, fun() -> hornbeam_cluster_dns:nodes(Name, Basename) end, State)
    end.

basename(undefined) -> hd(binary:split(atom_to_binary(node()), <<"@">>));
basename(Given) -> Given.

resolved({result, {ok, Names}}, State) ->
    attempts(targeted(State#state{found = Names, is_dns_well = true}));
%% Nodes that were found earlier stay.
resolved(Reason, #state{config = #{dns := Name}, is_dns_well = WasWell} = State) ->
    _ = WasWell andalso
        ?LOG_WARNING(
            #{what => dns_failed, name => Name, reason => reason(Reason)},
            #{domain => [hornbeam, cluster]}
        ),
    State#state{is_dns_well = false}.
