%% SPDX-License-Identifier: Apache-2.0
%% @doc Workers for Erlang code that was written for the Python instances of ErlPort 1.x.
%%
%% ```
%% ok = hornbeam:start("app:application", #{erlport => ["mymodule"]}).
%% {ok, P} = hornbeam_erlport:start([]).        % instead of python:start(Options)
%% Result = python:call(P, mymodule, f, [1]).   % or hornbeam_erlport:call, which is the same
%% '''
%% An instance is a process that takes the messages of ErlPort's `python' module and drives one
%% worker of the application with them, one after the other, as an instance of ErlPort does:
%%   call {call, Module, Function, Arguments, Options}    {ok, Result} | {error, Reason}
%%   cast {call, …}                                       the result is dropped; a failure ends it
%%   cast {message, Message}, any other message           for the handler of messages in Python
%%   cast stop
%% It ends with the Python process of its worker. docs/guides/interop.md says what differs.
-module(hornbeam_erlport).
-behaviour(gen_server).

-export([start/0, start/1, start/2, start_link/0, start_link/1, start_link/2, stop/1]).
-export([call/4, call/5, cast/2]).
-export([enter/2, send/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([instance/0, name/0]).

-type instance() :: gen_server:server_ref().
-type name() :: {local, atom()} | {global, term()} | {via, module(), term()}.

-record(state, {
    worker :: pid(),
    %% ends with the Python process of the worker
    monitor :: reference(),
    options :: hornbeam_erlport_options:options(),
    queue = hornbeam_erlport_queue:new() :: hornbeam_erlport_queue:queue(request()),
    %% requests that run, by the processes that wait for their results
    running = #{} :: #{pid() => {Monitor :: reference(), request()}},
    %% services that Python calls: their processes, and what nests in them
    entered = #{} :: #{reference() => pid()}
}).

-record(request, {
    id :: reference(),
    from :: gen_server:from() | none,
    service :: binary(),
    arguments :: [term()],
    %% monotonic, milliseconds
    deadline :: integer(),
    %% of the deadline, while it waits for its turn
    timer = none :: none | reference()
}).
-type request() :: #request{}.

%% Milliseconds.
-define(ENTER_TIMEOUT, 5000).

-spec start() -> gen_server:start_ret().
start() -> start([]).

%% @doc Start an instance; the options are in docs/guides/interop.md.
-spec start(hornbeam_erlport_options:given() | name()) -> gen_server:start_ret().
start(Options) when is_list(Options) -> gen_server:start(?MODULE, Options, []);
start(Name) -> start(Name, []).

-spec start(name(), hornbeam_erlport_options:given()) -> gen_server:start_ret().
start(Name, Options) -> gen_server:start(Name, ?MODULE, Options, []).

-spec start_link() -> gen_server:start_ret().
start_link() -> start_link([]).

-spec start_link(hornbeam_erlport_options:given() | name()) -> gen_server:start_ret().
start_link(Options) when is_list(Options) -> gen_server:start_link(?MODULE, Options, []);
start_link(Name) -> start_link(Name, []).

-spec start_link(name(), hornbeam_erlport_options:given()) -> gen_server:start_ret().
start_link(Name, Options) -> gen_server:start_link(Name, ?MODULE, Options, []).

%% @doc End the instance; the worker goes on. Who waits for a result gets the error `stopped'.
-spec stop(instance()) -> ok.
stop(Instance) -> gen_server:cast(Instance, stop).

-spec call(instance(), module(), atom(), [term()]) -> term().
call(Instance, Module, Function, Arguments) -> call(Instance, Module, Function, Arguments, []).

%% @doc Call a Python function and return its result; an exception is an error
%% `{python, Type, Text, Traceback}'. Options: `{timeout, Ms}', `async'.
-spec call(instance(), module(), atom(), [term()], [{timeout, timeout()} | async]) -> term().
call(Instance, Module, Function, Arguments, Options) when
    is_atom(Module), is_atom(Function), is_list(Arguments), is_list(Options)
->
    Request = {call, Module, Function, Arguments, Options},
    case proplists:get_bool(async, Options) of
        true -> gen_server:cast(Instance, Request);
        %% The instance answers at the deadline of the call.
        false -> result(gen_server:call(Instance, Request, infinity))
    end.

result({ok, Result}) -> Result;
result({error, Reason}) -> error(Reason).

%% @doc Send a message to the handler of messages in Python.
-spec cast(instance(), term()) -> ok.
cast(Instance, Message) -> gen_server:cast(Instance, {message, Message}).

%%% For the services that Python calls (hornbeam_erlport_service)

%% @doc The calling process works for a call of Python: requests that come meanwhile run on the
%% thread that waits for it, until this process ends. How values are converted.
-spec enter(pid(), hornbeam_caller:chain()) -> hornbeam_erlport_terms:values().
enter(Instance, Chain) ->
    gen_server:call(Instance, {hornbeam_enter, self(), Chain}, ?ENTER_TIMEOUT).

%% @doc Send a message of Python to a process, in order.
-spec send(pid(), pid(), term()) -> ok.
send(Instance, Pid, Message) ->
    Instance ! {hornbeam_send, Pid, Message},
    ok.

%%% gen_server

-spec init(hornbeam_erlport_options:given()) -> {ok, #state{}} | {stop, term()}.
init(Given) ->
    %% Who waits for a result is answered whatever ends the instance.
    process_flag(trap_exit, true),
    case hornbeam_erlport_options:check(Given) of
        {ok, Options} -> attach(hornbeam_erlport_options:worker(Options), Options);
        {error, Reason} -> {stop, Reason}
    end.

attach({ok, Worker, Events}, Options) ->
    {ok, #state{worker = Worker, monitor = monitor(process, Events), options = Options}};
attach({error, Reason}, _) ->
    {stop, Reason}.

-spec handle_call(term(), gen_server:from(), #state{}) ->
    {noreply, #state{}} | {reply, term(), #state{}}.
handle_call({hornbeam_enter, Pid, Chain}, _From, #state{queue = Queue, entered = Entered} = S) ->
    Monitor = monitor(process, Pid),
    Inner = S#state{
        queue = hornbeam_erlport_queue:enter(Monitor, Chain, Queue),
        entered = Entered#{Monitor => Pid}
    },
    {reply, maps:get(values, S#state.options), next(Inner)};
handle_call({call, Module, Function, Arguments, Options}, From, State) ->
    case call_request(Module, Function, Arguments, Options, From, State) of
        {ok, Request} -> {noreply, added(Request, State)};
        {error, _} = Error -> {reply, Error, State}
    end;
handle_call(Call, From, State) ->
    {reply, {unknown_call, ?MODULE, Call, From}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_cast({message, Message}, State) ->
    message(Message, State);
handle_cast({call, Module, Function, Arguments, Options}, State) ->
    case call_request(Module, Function, Arguments, Options, none, State) of
        {ok, Request} -> {noreply, added(Request, State)};
        {error, Reason} -> {stop, {async_call_error, Reason}, State}
    end;
handle_cast(stop, State) ->
    {stop, normal, State};
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({hornbeam_result, Pid, Result}, State) ->
    finished(Pid, Result, State);
handle_info({hornbeam_overdue, Id}, #state{queue = Queue} = State) ->
    case hornbeam_erlport_queue:remove(fun(#request{id = I}) -> I =:= Id end, Queue) of
        {Request, Rest} -> answered(Request, {error, timeout}, State#state{queue = Rest});
        none -> {noreply, State}
    end;
handle_info({hornbeam_send, Pid, Message}, #state{options = #{values := Values}} = State) ->
    Pid ! hornbeam_erlport_terms:from_python(Message, Values),
    {noreply, State};
handle_info({'DOWN', Monitor, process, _, _}, #state{monitor = Monitor} = State) ->
    {stop, {port_closed, worker_ended}, State};
handle_info({'DOWN', Monitor, process, _, _}, #state{entered = Entered} = State) when
    is_map_key(Monitor, Entered)
->
    Queue = hornbeam_erlport_queue:leave(Monitor, State#state.queue),
    {noreply, next(State#state{entered = maps:remove(Monitor, Entered), queue = Queue})};
handle_info({'DOWN', _, process, Pid, Reason}, #state{running = Running} = State) when
    is_map_key(Pid, Running)
->
    finished(Pid, {error, Reason}, State);
handle_info(Message, State) ->
    message(Message, State).

-spec terminate(term(), #state{}) -> ok.
terminate(Reason, #state{running = Running, queue = Queue}) ->
    _ = [exit(Pid, kill) || Pid <- maps:keys(Running)],
    Error = case Reason of normal -> {error, stopped}; _ -> {error, Reason} end,
    Begun = [Request || {_, Request} <- maps:values(Running)],
    lists:foreach(
        fun(Request) -> reply(Request, Error) end, Begun ++ hornbeam_erlport_queue:waiting(Queue)
    ).

%%% Requests

call_request(Module, Function, Arguments, Given, From, #state{options = Options}) ->
    #{values := Values} = Options,
    case hornbeam_erlport_options:call(Module, Function, Arguments, Given, Options) of
        {ok, Timeout} ->
            Name = [atom_to_binary(Module), atom_to_binary(Function)],
            request(From, <<"erlport/call">>, Name, Arguments, Timeout, Values);
        {error, _} = Error ->
            Error
    end.

message(Message, #state{options = #{values := Values, call_timeout := Timeout}} = State) ->
    case request(none, <<"erlport/message">>, [], Message, Timeout, Values) of
        {ok, Request} -> {noreply, added(Request, State)};
        {error, Reason} -> {stop, {message_handler_error, Reason}, State}
    end.

request(From, Service, Names, Term, Timeout, Values) ->
    case hornbeam_erlport_terms:to_python(Term, Values) of
        {ok, Value} ->
            {ok, #request{
                id = make_ref(),
                from = From,
                service = Service,
                arguments = [self() | Names] ++ [Value],
                deadline = now_ms() + Timeout
            }};
        {error, _} = Error ->
            Error
    end.

added(#request{id = Id, deadline = Deadline} = Request, #state{queue = Queue} = State) ->
    Timer = erlang:send_after(Deadline, self(), {hornbeam_overdue, Id}, [{abs, true}]),
    Waiting = Request#request{timer = Timer},
    next(State#state{queue = hornbeam_erlport_queue:add(Waiting, Queue)}).

%% The next request, if Python is free for it.
next(#state{queue = Queue0, running = Running} = State) ->
    case hornbeam_erlport_queue:next(fun(#request{id = Id}) -> Id end, Queue0) of
        {#request{timer = Timer} = Request, Chain, Queue} ->
            %% A deadline may be weeks away. One that is over meanwhile finds nothing that waits.
            _ = erlang:cancel_timer(Timer),
            {Pid, Monitor} = run(Request, Chain, State),
            State#state{queue = Queue, running = Running#{Pid => {Monitor, Request}}};
        none ->
            State
    end.

run(#request{service = Service, arguments = Arguments, deadline = Deadline}, Chain, State) ->
    #state{worker = Worker, options = #{values := Values}} = State,
    Instance = self(),
    spawn_monitor(fun() ->
        ok = hornbeam_caller:set_chain(Chain),
        Left = max(1, Deadline - now_ms()),
        Result = hornbeam_worker:call(Worker, Service, Arguments, Left),
        Instance ! {hornbeam_result, self(), hornbeam_erlport_terms:result(Result, Values)}
    end).

finished(Pid, Result, #state{running = Running, queue = Queue} = State) ->
    {{Monitor, #request{id = Id} = Request}, Rest} = maps:take(Pid, Running),
    true = demonitor(Monitor, [flush]),
    Done = hornbeam_erlport_queue:done(Id, Queue),
    answered(Request, Result, State#state{running = Rest, queue = Done}).

answered(#request{from = none, service = <<"erlport/message">>}, {error, Reason}, State) ->
    {stop, {message_handler_error, Reason}, State};
answered(#request{from = none}, {error, Reason}, State) ->
    {stop, {async_call_error, Reason}, State};
answered(Request, Result, State) ->
    ok = reply(Request, Result),
    {noreply, next(State)}.

reply(#request{from = none}, _) -> ok;
reply(#request{from = From}, Result) -> gen_server:reply(From, Result).

now_ms() -> erlang:monotonic_time(millisecond).
